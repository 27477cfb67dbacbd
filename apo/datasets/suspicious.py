"""Suspicious texts in a row of any kind: too long, not decoded, JSON, marks of templates and images."""

import json
import re
from collections.abc import Iterator

from apo.core.dialogue import turn_out_of_order, turns_of
from apo.datasets.messages import ROLES
from apo.datasets.parsed import ParsedRow
from apo.datasets.runaway import ENDS
from apo.datasets.written_texts import written

_NO_VALUES = ("null", "None", "nan", "NaN")  # as tables have them in place of a text
MAX_TEXT_CHARACTERS = 1_000_000  # of one query or response
_USERS, _ASSISTANTS = (
    "|".join(sorted(name for name, role in ROLES.items() if role in roles))
    for roles in (("user", "system"), ("assistant",))
)
# Marks of chat templates, in which a whole conversation looks like one prompt.
_TOKENS = re.compile(
    r"<\|(?:im_start|start_header_id|header_start|start_of_role|start_of_turn_token|(?:im_)?(?:system|user|assistant)|human"
    r"|prompter)\|>|<\uff5c(?:user|assistant)\uff5c>|<extra_id_1>|<start_of_turn>|\[/?INST\]"
    r"|<\|start\|>(?:system|developer|user)|<(?:human|user|bot|assistant)>\s*:|\[\|(?:human|user|ai|assistant)\|\]",
    re.IGNORECASE,
)
_SPEAKER = re.compile(rf"\s*(?:\*\*)?({_USERS})(?:\*\*)? *[:\uff1a]", re.IGNORECASE)
_REPLY = re.compile(rf"\n[ \t]*(?:\*\*)?(?:{_ASSISTANTS})(?:\*\*)? *[:\uff1a]", re.IGNORECASE)
_HEADING = re.compile(r"(?:\A|\s)#{2,3} *(?:instruction|human|user|input) *:", re.IGNORECASE)
_REPLY_HEADING = re.compile(r"\s#{2,3} *(?:response|assistant|answer) *:", re.IGNORECASE)
# Where a turn of the user begins or ends, the place of an image, as LLaVA and its kind write it.
_IMAGE_MARK = r"<\|?(?:image|video|audio)(?:[_ ]?(?:pad|\d+))?\|?>"
_IMAGE = re.compile(rf"\n\nHuman: ({_IMAGE_MARK})|\s({_IMAGE_MARK})\s*\n\nAssistant:")


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
    if ended := next(filter(_ends_a_turn, [*parsed.responses, *parsed.extra.values()]), None):
        yield "chat_template", f"the end of a turn at the end of a response ({ended[-60:]!r})"
    for query in dict.fromkeys(parsed.queries):
        if number := turn_out_of_order(query):
            yield "turn_order", f"turns that do not alternate, from turn {number} on"
            break
        if ("<" in query or "[" in query) and (mark := _IMAGE.search(query)):
            yield (
                "unsupported_column",
                f"{mark[1] or mark[2]!r}, the mark of an image that is not read, in a query",
            )
            break
        if any(map(has_template_marks, turns_of(query))):
            yield "chat_template", f"marks of a chat template in a query ({query[:60]!r})"
            break


def has_template_marks(text: str) -> bool:
    """Whether a text, without marks of turns in the HH form, has those of another chat template."""
    if ("<" in text or "[" in text) and _TOKENS.search(text):
        return True
    speaker = _SPEAKER.match(text)
    if speaker and (speaker[1].lower() == "prompter" or _REPLY.search(text, speaker.end())):
        return True
    heading = _HEADING.search(text) if "##" in text else None
    if heading and _REPLY_HEADING.search(text, heading.end()):
        return True
    return "ASSISTANT:" in text.partition("USER:")[2]


def _ends_a_turn(text: str) -> bool:
    """Whether a text has the end token of a template at its end, and not that of struck text in HTML."""
    return text.rstrip().endswith(">") and "<s>" not in text and bool(ENDS.search(text))


def _is_code(text: str) -> bool:
    """Whether a whole text is a JSON object, a list, one text with escapes in JSON or Python, or no value."""
    if text in _NO_VALUES:
        return True
    if text.startswith(('{"', '["', "[{")) and text.endswith(("]", "}")):
        try:
            return bool(json.loads(text))
        except (ValueError, RecursionError):
            pass
    language, content = written(text)
    return content is not None and (language == "Python" or content != text[1:-1])
