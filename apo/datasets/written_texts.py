"""Texts that are written as JSON or as Python code in every row of a file, as some tools export cells."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.csv_rows import Cell
from apo.datasets.parsed import Names

_ANSWER_PARTS = ("chosen", "rejected", "first", "second", "response", "other response", "answer")
_ANSWER_KEYS = re.compile(r"response_[01]|human_ref_[AB]|golden|sample_\d+")
_TEXT_KEYS = ({"text"}, {"content"})  # of a record that holds one text
_PYTHON = re.compile(
    r"""array\(.*\)|\[\s*(?:None|(['"]).*\1)\s*\]|\{'(?:text|content)':.*\}"""
    r"""|\((['"]).*\2,\s*\)|b(['"]).*\3""",
    re.DOTALL,
)
_BEGINNINGS, _ENDS = ('"', "[", "{", "array(", "('", '("', "b'", 'b"'), ('"', "]", "}", ")", "'")
_SEVERAL = re.compile(r"""\[.*['"]\s*(?:,\s*)?['"].*\]""", re.DOTALL)  # texts in a list of Python


class Written(NamedTuple):
    """A text by how it is written.

    Attributes:
        language: JSON or Python, "" for a plain text.
        text: The one text that it holds, None if there are more; that of Python code is not decoded.
    """

    language: str
    text: str | None = None


def written(value: Any) -> Written:
    """How a text is written.

    >>> written('"a \\\\"b\\\\""')
    Written(language='JSON', text='a "b"')
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(_BEGINNINGS) or not text.endswith(_ENDS):
        return Written("")
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        is_python = _PYTHON.fullmatch(text)
        return Written("Python", None if _SEVERAL.fullmatch(text) else text) if is_python else Written("")
    is_cell = isinstance(value, Cell)  # elsewhere lists and records are written as such, or are the answer
    if is_cell and isinstance(decoded, list) and len(decoded) == 1:
        (decoded,) = decoded
    if is_cell and isinstance(decoded, dict) and decoded.keys() in _TEXT_KEYS:
        (decoded,) = decoded.values()
    return Written("JSON", decoded if isinstance(decoded, str) else None)


def answer_keys(row: Row, names: Names) -> list[str]:
    """The keys of the answers of a row that are texts; [] if one of them is not."""
    keys = [key for part, key in names.items() if part in _ANSWER_PARTS]
    keys += [key for key in row if _ANSWER_KEYS.fullmatch(key) and key not in keys]
    return keys if all(isinstance(row.get(key), str) for key in keys) else []


def is_json(rows: Iterable[Row], keys: Sequence[str], prompt: str, where: str) -> bool:
    """Whether every text of a file under some keys, such as its answers, is a text in JSON.

    Args:
        rows: The rows of the file; they are read up to the first plain text.
        keys: The keys of the texts.
        prompt: The key of the prompt beside answers, "" for none.
        where: The file for messages.

    Raises:
        UserError: All are texts as Python writes them.
    """
    python, are_single = "", True
    for row in rows:
        has_written_prompt = bool(written(row.get(prompt)).language)
        for value in _filled_texts(row, keys):
            language, text = written(value)
            if text is None and not (language and has_written_prompt):
                return False
            are_single &= text is not None
            python = python or (value if language == "Python" else "")
    if python:
        raise UserError(
            where,
            found=f"texts written as Python code in every row ({python[:60]!r})",
            expected="texts, or lists of messages",
            do="write the file again from the lists, as JSON Lines, for instance with pandas: "
            "`frame.to_json(FILE, orient='records', lines=True)`",
        )
    return are_single


def _filled_texts(row: Row, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        value = row.get(key)
        if isinstance(value, str) and value.strip() not in ("", "[]", "null"):
            yield value


def decoded(row: Row, keys: Sequence[str], counts: Counter[str]) -> Row:
    """A row with the texts in JSON under some keys in their place."""
    texts = {key: text for key in keys if (text := written(row.get(key)).text) is not None}
    counts["texts_in_json"] += len(texts)
    return row | texts
