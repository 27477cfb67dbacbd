"""Suspicious texts in a row of any kind: too long, not decoded, JSON, marks of templates and images."""

import json
import re
from collections.abc import Iterator

from apo.core.dialogue import turn_out_of_order
from apo.datasets.parsed import ParsedRow
from apo.datasets.written_texts import written

MAX_TEXT_CHARACTERS = 1_000_000  # of one query or response
# Marks of chat templates, in which a whole conversation looks like one prompt.
_TEMPLATE = re.compile(r"<\|im_start\|>|<\|start_header_id\|>|<extra_id_1>|\[/INST\]|<start_of_turn>")
# Where a turn of the user begins or ends, the place of an image, as LLaVA and its kind write it.
_IMAGE_MARK = r"<\|?(?:image|video|audio)(?:[_ ]?(?:pad|\d+))?\|?>"
_IMAGE = re.compile(rf"\n\nHuman: ({_IMAGE_MARK})\s|\s({_IMAGE_MARK})\s*\n\nAssistant:")


def suspicious_texts(parsed: ParsedRow) -> Iterator[tuple[str, str]]:
    """Codes and descriptions of suspicious texts in a row of any kind."""
    texts = [*dict.fromkeys(parsed.queries), *parsed.responses, *parsed.extra.values()]
    longest = max(map(len, texts))
    if longest > MAX_TEXT_CHARACTERS:
        yield "too_long", f"a text of {longest} characters, more than {MAX_TEXT_CHARACTERS}"
    if any("\ufffd" in text for text in texts):
        yield "replacement_character", "U+FFFD, which replaces bytes that could not be decoded"
    json_response = next((text for text in parsed.responses if _is_code(text)), None)
    if json_response is not None:
        yield "json_text", f"a response that is JSON or Python as a whole ({json_response[:60]!r})"
    for query in dict.fromkeys(parsed.queries):
        if number := turn_out_of_order(query):
            yield "turn_order", f"turns that do not alternate, from turn {number} on"
            break
        if "<" not in query and "[" not in query:  # no mark of either kind; much faster
            continue
        if mark := _IMAGE.search(query):
            yield (
                "unsupported_column",
                f"{mark[1] or mark[2]!r}, the mark of an image that is not read, in a query",
            )
            break
        if _TEMPLATE.search(query):
            yield "chat_template", f"marks of a chat template in a query ({query[:60]!r})"
            break


def _is_code(text: str) -> bool:
    """Whether a whole text is a JSON object or a list, or one text with escapes in JSON or Python."""
    if text.startswith(('{"', '["', "[{")) and text.endswith(("]", "}")):
        try:
            return bool(json.loads(text))
        except (ValueError, RecursionError):
            pass
    language, content = written(text)
    return content is not None and (language == "Python" or content != text[1:-1])
