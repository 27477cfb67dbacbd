"""Values of a row, checked: texts, lists, numbers, queries, conversations. What is wrong is a RowError."""

import math
from collections import Counter
from typing import Any, NoReturn

from apo.dialogue import ASSISTANT, HUMAN, has_turn_marks, messages_to_dialogue, split_dialogue
from apo.errors import RowError, UserError
from apo.records import Row

# ShareGPT's names of the roles beside those of chat templates.
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}


def refuse(
    code: str, where: str, key: str, found: str, expected: str, do: str = "mend or remove the row"
) -> NoReturn:
    """Raises the RowError about what stands under a key."""
    raise RowError(code, where, found=f"{found} in '{key}'", expected=expected, do=do)


def text_in(value: Any, key: str, where: str) -> str:
    """A text that can be written as UTF-8 and tokenised.

    Raises:
        RowError: It is no text, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        found = "null" if value is None else f"{type(value).__name__} {_short(value)}"
        refuse("not_text", where, key, found, "a text")
    if "\0" in value:
        refuse("nul_character", where, key, "a NUL character", "text without it")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse("surrogate", where, key, "half of a surrogate pair", "text that is valid Unicode")
    return str(value)


def _short(value: Any) -> str:
    """The beginning of a value; long texts and lists are cut before they are written out, not after."""
    if isinstance(value, str):
        return f"{value[:60]!r:.40}"
    if isinstance(value, list):
        return f"[{', '.join(_short(one) for one in value[:4])}]"[:40] if _is_flat(value) else "[...]"
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    return "a number of many digits" if isinstance(value, int) and abs(value) >= 10**40 else f"{value!r:.40}"


def _is_flat(values: list[Any]) -> bool:
    return not any(isinstance(value, list) for value in values[:4])


def list_in(row: Row, key: str, where: str) -> list[Any]:
    """A list that is not empty."""
    value = row[key]
    if not isinstance(value, list) or not value:
        refuse("not_text", where, key, f"{type(value).__name__} {_short(value)}", "a list that is not empty")
    return list(value)


def texts_in(row: Row, key: str, where: str) -> list[str]:
    """A list of texts that is not empty."""
    return [text_in(value, key, where) for value in list_in(row, key, where)]


def number_in(value: Any, key: str, where: str) -> float:
    """A finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        found = "null" if value is None else f"the score {_digits(value)}"
        refuse("bad_score", where, key, found, "finite numbers")
    return float(value)


def _digits(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, int | float) else _short(value)


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def scores_in(row: Row, key: str, count: int, where: str) -> list[float]:
    """One finite number for each of `count` responses."""
    values = row[key]
    if not isinstance(values, list) or not values:
        refuse(
            "bad_score", where, key, f"{type(values).__name__} {_short(values)}", "a list that is not empty"
        )
    if len(values) != count:
        found = f"{len(values)} values for {count} responses"
        refuse("score_count", where, key, found, "one score for each response")
    return [number_in(value, key, where) for value in values]


def query_in(value: Any, key: str, where: str, counts: Counter[str]) -> str:
    """A query in the HH form; plain text becomes its only human turn.

    Args:
        value: What stands under `key`.
        key: For messages.
        where: For messages.
        counts: Receives `trimmed_queries` and `wrapped_queries`.
    """
    text = text_in(value, key, where)
    trimmed = text.rstrip()
    if not trimmed:
        refuse("blank_query", where, key, "a blank text", "a query")
    if trimmed.endswith(ASSISTANT) and HUMAN in trimmed:
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


def whole_dialogue(text: str, where: str) -> tuple[str, str]:
    """A dialogue as query and response; the space after the last mark belongs to the form."""
    try:
        query, response = split_dialogue(text, where=where)
    except UserError as error:
        raise _as_row_error("no_dialogue", error) from None
    return query, response.removeprefix(" ")


def _as_row_error(code: str, error: UserError) -> RowError:
    return RowError(code, error.where, found=error.found, expected=error.expected, do=error.do)


# Conversations -------------------------------------------------------------------------------------


def messages_in(value: Any, key: str, where: str) -> list[dict[str, str]]:
    """Messages as {role, content}, also where they are written as {from, value}, or are one alone."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        refuse("role_order", where, key, f"{type(value).__name__} {_short(value)}", "a list of messages")
    return [_message(one, key, f"{where}: message {number}") for number, one in enumerate(value, start=1)]


def _message(message: Any, key: str, where: str) -> dict[str, str]:
    names = ("from", "value") if isinstance(message, dict) and "value" in message else ("role", "content")
    role, content = (message.get(name) for name in names) if isinstance(message, dict) else (None, None)
    role = _ROLES.get(role, role) if isinstance(role, str) else None
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise RowError(
            "role_order",
            where,
            found=_message_found(message, key),
            expected="{'role': 'system', 'user' or 'assistant', 'content': text}",
            do="mend the message; tool calls and images can't be read",
        )
    if HUMAN in content or ASSISTANT in content:
        raise RowError(
            "turn_mark",
            where,
            found=f"a content that holds a turn mark ({content[:60]!r})",
            expected=f"contents without {HUMAN!r} and {ASSISTANT!r}",
            do="split the content into one message a turn",
        )
    return {"role": role, "content": text_in(content, key, where)}


def _message_found(message: Any, key: str) -> str:
    if not isinstance(message, dict):
        return f"{type(message).__name__} {_short(message)} in '{key}'"
    shown = ", ".join(f"{_short(name)}: {_short(value)}" for name, value in list(message.items())[:3])
    return f"{{{shown}}} in '{key}'"


def answered(messages: list[dict[str, str]], where: str) -> tuple[str, str]:
    """A conversation that ends with the assistant, as query and response."""
    try:
        return messages_to_dialogue(messages, where=where)
    except UserError as error:
        raise _as_row_error("role_order", error) from None
