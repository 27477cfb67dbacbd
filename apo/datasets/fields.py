"""Checked values of a row: texts, lists, numbers, queries, dialogues. A wrong value raises RowError."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from apo.core.dialogue import ASSISTANT, HUMAN, has_turn_marks, split_dialogue
from apo.core.errors import RowError, UserError
from apo.core.records import Row, is_finite_number
from apo.datasets.csv_rows import Cell

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_BARE_MARK = re.compile(r"[ \t]*\r?\n?[ \t]*(?:Human|Assistant):")  # of a stripped dialogue

_BLANKS = ("", "[]", "{}", "null")  # texts for no value ...
_BLANK_CELLS = ("None", "nan", "NaN")  # ... and those that Python writes into tables


def bad_value(
    code: str, where: str, key: str, found: str, expected: str, do: str = "fix or remove the row"
) -> RowError:
    """The error of a row whose value under a key is invalid."""
    return RowError(code, where, found=f"{found} in '{key}'", expected=expected, do=do)


def text_in(value: Any, key: str, where: str) -> str:
    """A text that can be written as UTF-8 and tokenized.

    Raises:
        RowError: It is no text, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        do = "write the column as texts" if is_unread(value) else "fix or remove the row"
        raise bad_value("not_text", where, key, type_and_value(value), "a text", do)
    if "\0" in value:
        raise bad_value("nul_character", where, key, "a NUL character", "text without it")
    try:
        value.encode()
    except UnicodeEncodeError:
        found, expected = "half of a surrogate pair", "text that is valid Unicode"
        raise bad_value("surrogate", where, key, found, expected) from None
    return str(value)


def type_in(row: Row, where: str) -> str:
    """The type of a comparison: a text or a number; "" where the file has none."""
    value = row.get("type")
    return (
        str(value)
        if isinstance(value, int | float)
        else text_in("" if value is None else value, "type", where)
    )


def is_unread(value: Any) -> bool:
    """Whether a value stands for one of a parquet file that is neither text nor number."""
    return isinstance(value, dict) and isinstance(value.get("not read"), str)


def shortened(value: Any) -> str:
    """The beginning of a value; long texts and lists are cut before they are written out, not after."""
    if isinstance(value, str):
        return f"{value[:60]!r:.40}"
    if isinstance(value, list):
        return f"[{', '.join(map(shortened, value[:4]))}]"[:40] if _is_flat(value) else "[...]"
    if isinstance(value, dict):
        return (
            f"a column that is not read ({value['not read']})"
            if is_unread(value)
            else "{...}"
            if value
            else "{}"
        )
    return "a number of many digits" if isinstance(value, int) and abs(value) >= 10**40 else f"{value!r:.40}"


def type_and_value(value: Any) -> str:
    """A value for a message: its type and its beginning."""
    if value is None or is_unread(value):
        return "null" if value is None else shortened(value)
    name = "str" if isinstance(value, str) else type(value).__name__
    return f"{name} {shortened(value)}"


def _is_flat(values: list[Any]) -> bool:
    return not any(isinstance(value, list) for value in values[:4])


def filled(value: Any) -> bool:
    """Whether a value is neither null nor blank, and no list or record of such values."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, list | dict):
            stack += part if isinstance(part, list) else part.values()
        elif isinstance(part, str):
            text = part.strip()
            if text not in _BLANKS and not (isinstance(part, Cell) and text in _BLANK_CELLS):
                return True
        elif part is not None:
            return True
    return False


def is_list_of_texts(value: Any) -> bool:
    """Whether a value is a list that begins with a text."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def list_in(row: Row, key: str, where: str, code: str = "not_text") -> list[Any]:
    """A list that is not empty."""
    value = row[key]
    if not isinstance(value, list) or not value:
        raise no_list(code, where, key, value, "a list that is not empty")
    return list(value)


def no_list(code: str, where: str, key: str, value: Any, expected: str) -> RowError:
    """The error of a row whose value under a key is no list; it may be one that Python wrote as a text."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "(", "{", "array(")):
        do = "write the file from the lists, as JSON Lines"
        return bad_value(code, where, key, f"a list written as a text ({shortened(value)})", expected, do)
    return bad_value(code, where, key, type_and_value(value), expected)


def texts_in(row: Row, key: str, where: str) -> list[str]:
    """A list of texts that is not empty."""
    return [text_in(value, key, where) for value in list_in(row, key, where)]


def texts_of_json(value: Any) -> list[Any]:
    """The elements of a text that is a JSON list, of which the first is a text or null; [] for any other."""
    if not isinstance(value, str) or not value.startswith(('["', "[null")):
        return []
    try:
        elements = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return elements if isinstance(elements, list) else []


def number_in(value: Any, key: str, where: str) -> float:
    """A finite number, perhaps written as a text. Booleans are not numbers."""
    value = number_of_cell(value)
    if not is_finite_number(value):
        found = "null" if value is None else f"the score {_digits(value)}"
        raise bad_value("bad_score", where, key, found, "finite numbers")
    return float(value)


def number_of_cell(value: Any) -> Any:
    """The number in a cell of a table or in another text; any other value as it is."""
    text = value.strip() if isinstance(value, str) else ""
    return float(text) if len(text) < 40 and _NUMBER.fullmatch(text) else value


def _digits(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, int | float) else shortened(value)


def scores_in(row: Row, key: str, count: int, where: str) -> list[float]:
    """One finite number for each of `count` responses."""
    values = list_in(row, key, where, "bad_score")
    if len(values) != count:
        found = f"{len(values)} values for {count} responses"
        raise bad_value("score_count", where, key, found, "one score for each response")
    return [number_in(value, key, where) for value in values]


def query_in(value: Any, key: str, where: str, counts: Counter[str]) -> str:
    """A query in the HH form; plain text becomes its only human turn.

    `counts` receives `trimmed_queries` and `wrapped_queries`.
    """
    text = text_in(value, key, where)
    trimmed = text.rstrip()
    if not trimmed:
        raise bad_value("blank_query", where, key, "a blank text", "a query")
    if trimmed.endswith(ASSISTANT) and HUMAN in trimmed and not _BARE_MARK.match(trimmed):
        if not trimmed.startswith(HUMAN):
            before, _, rest = trimmed.partition(HUMAN)
            trimmed = HUMAN + rest if not before.strip() else trimmed
        counts["trimmed_queries"] += trimmed != text
        return trimmed
    if has_turn_marks(text):
        raise RowError(
            "query_form",
            where,
            found=f"a query in '{key}' that ends in {text[-40:]!r}",
            expected=f"plain text, or turns that begin with {HUMAN!r} and end with {ASSISTANT!r}",
            do="write the query in one of the two forms",
        )
    counts["wrapped_queries"] += 1
    return f"{HUMAN} {text}{ASSISTANT}"


def check_queries(queries: Iterable[str], where: str) -> None:
    """Raises RowError if the last human turn of a query is blank."""
    for query in dict.fromkeys(queries):
        if not query.removesuffix(ASSISTANT).rpartition(HUMAN)[2].strip():
            found, expected = f"a blank last human turn ({query[-60:]!r})", "a query"
            raise RowError("blank_query", where, found=found, expected=expected, do="fix or remove the row")


def whole_dialogue(text: str, where: str) -> tuple[str, str]:
    """A dialogue as query and response, without the space after the last mark."""
    if _BARE_MARK.match(text):
        raise RowError(
            "no_dialogue",
            where,
            found=f"a dialogue that begins with a mark without two line breaks before it ({text[:60]!r})",
            expected=f"turns that begin with {HUMAN!r} and {ASSISTANT!r}",
            do="write two line breaks before the first mark too; a tool may have stripped them",
        )
    try:
        query, response = split_dialogue(text, where=where)
    except UserError as error:
        raise as_row_error("no_dialogue", error) from None
    return query, response.removeprefix(" ")


def as_row_error(code: str, error: UserError) -> RowError:
    """A UserError as the error of one row, which has an action."""
    return RowError(code, error.where, found=error.found, expected=error.expected, do=error.do)
