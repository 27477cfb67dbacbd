"""The role of every column of a file, and the text in columns that are not read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from apo.core.records import Row
from apo.datasets.columns import (
    PROMPTS,
    canonical_name,
    column_of,
    input_of_instruction,
    known_name,
    unmapped_columns,
)
from apo.datasets.context import HISTORY, SYSTEM, UNREAD_CONTEXT, UNREAD_PARTS
from apo.datasets.fields import filled, is_list_of_texts
from apo.datasets.parsed import ParsedRow
from apo.datasets.prompt_templates import PromptTemplates
from apo.datasets.prompts import has_words, turn_texts

NOT_READ = "not read"
FLAG = "flag of the answer"
LOST_ADVICE = (
    "say what it is under data.files.columns.KIND (data.hub.columns): `history: COLUMN`, "
    "`system: COLUMN`, `prompt: COLUMN`, or `input: COLUMN` for what stands behind the prompt; or remove it"
)
MAX_UNREAD = 0.2  # of the text of a row may be in columns that are not read
_CONTEXT = frozenset([*SYSTEM, *HISTORY, *UNREAD_CONTEXT, *PROMPTS, "messages"])
SHORTEST_TEXT = 20  # characters; a shorter text is a name, a label or an id
_MAX_DEPTH = 20  # of lists and records in each other
TEMPLATE_ARGUMENTS = "chat_template_kwargs"  # what a chat template gets beside the messages
_TEMPLATE_PARTS = ("instructions", "tools", "documents", "system", "system_prompt")  # ends of names in it
SHORTEST_CJK = 6  # Chinese, Japanese or Korean characters
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class ColumnUse:
    """The role of every column of a file.

    Args:
        role_of: The role of a column, by its name in the format, or `NOT_READ`.
        columns: The columns of the file by their names in the format, as the user maps them.
        keep_unmapped: Whether columns that are not mapped are read under their names.

    Attributes:
        uses: By the column of the file: its role, or `NOT_READ`.
    """

    def __init__(
        self, role_of: Callable[[str], str], columns: Mapping[str, str], *, keep_unmapped: bool
    ) -> None:
        self.uses: dict[str, str] = {}
        self._role_of, self._columns, self._keep_unmapped = role_of, columns, keep_unmapped

    def add(self, row: Row) -> None:
        """Adds the columns of a row as it is in the file."""
        if row.keys() <= self.uses.keys():
            return
        mapped: dict[str, list[str]] = {}
        for name, path in {**input_of_instruction(row, self._columns), **self._columns}.items():
            mapped.setdefault(column_of(row, path), []).append(name)
        unmapped = set(row)
        if self._columns:
            unmapped = set(unmapped_columns(row, self._columns, keep_unmapped=self._keep_unmapped))
        for key in row:
            if key in self.uses:
                continue
            if key in mapped:
                self.uses[key] = ", ".join(map(self._mapped_role, mapped[key]))
            elif key in unmapped:
                self.uses[key] = self._role_of(canonical_name(key, row))
            else:
                role = self._role_of(key)
                self.uses[key] = role if role == FLAG else NOT_READ

    def _mapped_role(self, name: str) -> str:
        return "input of the instruction" if name == "input" else self._role_of(name)

    def unread(self, row: Row) -> list[str]:
        """The columns of a row that are not read."""
        return [key for key in row if self.uses[key] == NOT_READ]


def unsupported_in(row: Row, unread: Iterable[str]) -> tuple[str, str] | None:
    """A column with a part of the dialogue that is not read: its name, and its content for a message."""
    for key in unread:
        value = row[key]
        is_part = known_name(key) in UNREAD_PARTS + HISTORY + SYSTEM
        if is_part and filled(value) and value is not False and value != 0:
            return key, f"{len(value)} in {key!r}" if isinstance(value, list) else f"a filled column {key!r}"
        if key == TEMPLATE_ARGUMENTS and isinstance(value, dict):
            for name in value:
                if name.endswith(_TEMPLATE_PARTS) and filled(value[name]):
                    return key, f"a filled {name!r} in {key!r}"
    return None


def lost_context(row: Row, read: Iterable[str], parsed: ParsedRow, templates: PromptTemplates) -> str:
    """The description of a column of the prompt whose text is not in the record; "" if there is none.

    Such as a second prompt or system text, or earlier turns beside others.

    Args:
        row: The row under the names of the format.
        read: The columns that the record certainly has.
        templates: The columns of the file that have the prompt with a template around it.
    """
    texts = ""
    for key in row:
        if known_name(key) not in _CONTEXT or key in read or _is_id(row[key]) or not filled(row[key]):
            continue
        texts = texts or "\n".join([*parsed.queries, *parsed.responses, *parsed.extra.values()])
        for text in turn_texts(row[key], with_answer=known_name(key) in HISTORY):
            is_read = not filled(text) or has_words(texts, text) or (_is_long(text) and text.strip() in texts)
            if not is_read and not templates.explain(key, text, parsed):
                return f"a filled column {key!r}, whose text is not in the record ({text[:40]!r})"
    return ""


def _is_long(text: str) -> bool:
    """Whether a text is so long that it stands in another one by no chance, also without spaces around it."""
    return len(text.strip()) >= SHORTEST_TEXT or len(_CJK.findall(text)) >= SHORTEST_CJK


def _is_id(value: Any) -> bool:
    """Whether a value is a number or one word with a digit, as an id or a count is.

    Chinese and Japanese write no spaces, so several of their characters are a text.
    """
    is_word = isinstance(value, str) and len(value.split(None, 1)) == 1
    is_word = is_word and len(_CJK.findall(value)) < SHORTEST_CJK
    return not isinstance(value, str | list | dict) or (is_word and any(map(str.isdigit, value)))


def unread_part(row: Row, unread: Iterable[str], parsed: ParsedRow) -> tuple[float, str]:
    """The fraction of a row's text that is in columns that are not read, and the column with most of it.

    A field of the records in a column that is read counts as a column of its own: `chosen.reasoning_content`.
    Text that is also in the query or in a response counts as read. Names, labels and ids do not count.
    """
    unread = set(unread)
    texts = [(key, text) for key in unread for text in _texts(row[key])]
    texts += [field for key in row.keys() - unread for field in _fields(row[key], key)]
    read = [*dict.fromkeys(parsed.queries), *parsed.responses, *parsed.extra.values()]
    total = sum(map(len, read))
    length = sum(len(text) for _, text in texts)
    if length <= MAX_UNREAD * (total + length):
        return 0.0, ""
    read_text = "\0".join(read)
    lengths = Counter[str]()
    for key, text in texts:
        lengths[key] += len(text) if text.strip() not in read_text else 0
    longest = max(lengths, key=lambda key: lengths[key])
    part = lengths.total() / max(total + lengths.total(), 1)
    return (part, longest) if part > MAX_UNREAD else (0.0, "")


def _fields(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The texts in the fields of records, with their paths without the places in lists."""
    if isinstance(value, list) and depth < _MAX_DEPTH:
        for element in value:
            if isinstance(element, list | dict):
                yield from _fields(element, path, depth + 1)
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, field in value.items():
            if isinstance(field, str) or is_list_of_texts(field):
                yield from ((f"{path}.{key}", text) for text in _texts(field))
            else:
                yield from _fields(field, f"{path}.{key}", depth + 1)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value, if they are long enough together. Words that stand alone are names or labels."""
    texts = [text for text in _leaves(value) if not text.isascii() or len(text.split(None, 1)) > 1]
    together = " ".join(texts)
    is_long = len(together) >= SHORTEST_TEXT and (not together.isascii() or len(together.split(None, 2)) > 2)
    if is_long or len(_CJK.findall(together)) >= SHORTEST_CJK:
        yield from texts


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _leaves(element)
    elif isinstance(value, dict):
        for element in value.values():
            yield from _leaves(element)
