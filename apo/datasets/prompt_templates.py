"""Text around the prompt in a second column: a template of the whole file, or text that the record lacks."""

import re
from collections import Counter
from collections.abc import Callable, Iterable

from apo.core.records import Row
from apo.datasets.messages import ROLES
from apo.datasets.parsed import ParsedRow
from apo.datasets.prompts import has_words, turn_texts
from apo.datasets.suspicious import has_template_marks

_TOKEN = re.compile(r"<<?[^<>\s]+>>?|\[/?[A-Z]+\]")  # <|im_start|>, <<SYS>>, [INST]
_NAMES = frozenset(
    [
        *(*ROLES, "question", "answer", "instruction", "response", "input", "output"),
        *("prompt", "query", "q", "a"),
    ]
)


class PromptTemplates:
    """The columns of one file that have the prompt with a template around it.

    Args:
        rows: Reads the file once more: its rows under the names of the format, parsed.
        counts: Receives `templates_around_prompts`.
    """

    def __init__(self, rows: Callable[[], Iterable[tuple[Row, ParsedRow]]], counts: Counter[str]) -> None:
        self._rows, self._counts = rows, counts
        self._is_constant: dict[str, bool] = {}  # by column

    def explain(self, key: str, text: str, parsed: ParsedRow) -> bool:
        """Whether a text, in the column `key`, is the prompt with a template around it, and counts it.

        A template is made of names of roles and special tokens alone, or is the same in all rows.
        """
        around = text_around(text, parsed)
        if around and key not in self._is_constant:
            self._is_constant[key] = self._has_one(key)
        is_template = around == "" or (around is not None and self._is_constant[key])
        self._counts["templates_around_prompts"] += is_template
        return is_template

    def _has_one(self, key: str) -> bool:
        """Whether all texts of a column have the same text around different prompts."""
        around, prompts = set[str](), set[str]()
        for row, parsed in self._rows():
            for text in turn_texts(row.get(key), with_answer=False):
                if found := text_around(text, parsed):
                    around.add(found)
                    prompts.add(parsed.queries[0])
                    if len(around) > 1 or has_template_marks(text):
                        return False
        return len(prompts) > 1


def text_around(text: str, parsed: ParsedRow) -> str | None:
    """The text around the prompt of a record, with a NUL in place of each turn of the record.

    Returns:
        "" if it is made of names of roles and special tokens alone; None if the prompt is not in the text.
    """
    turns = turn_texts(parsed.queries[0])
    parts = turns[-1].split("\n\n") if turns else []
    if not parts or not all(has_words(text, part) for part in parts):
        return None
    around = f" {' '.join(text.split())} "
    for part in sorted({*turns, *parts, *filter(None, parsed.responses)}, key=len, reverse=True):
        around = around.replace(f" {' '.join(part.split())} ", " \0 ", 1)
    words = re.findall(r"\w+", _TOKEN.sub(" ", around).lower())
    return "" if _NAMES.issuperset(words) else around
