"""Conversations as lists of messages, in the forms of public data sets. A malformed one raises RowError."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from apo.core.dialogue import ASSISTANT, HUMAN, messages_to_dialogue
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.fields import as_row_error, bad_value, shortened, text_in, type_and_value

ROLE_KEYS = ("role", "from", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "message")
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai", "chatbot"), "assistant"),
    "system": "system",
}
_CALLS = ("tool_calls", "function_call", "tool_call")
_QUESTIONS = ("user", "human", "prompt", "question", "instruction", "input", "query")
_ANSWERS = ("assistant", "gpt", "response", "answer", "output", "bot")


def messages_in(value: Any, key: str, where: str) -> list[dict[str, str]]:
    """Messages as {role, content}, from any common names of keys and roles, or from a single message."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise bad_value("role_order", where, key, type_and_value(value), "a list of messages")
    if len(value) > 1 and all(isinstance(turn, str) for turn in value):
        found, expected = f"a list of {len(value)} texts", "one text, or a list of messages"
        raise bad_value("not_text", where, key, found, expected, unrated_advice(key))
    return [_message(turn, key, f"{where}: message {number}") for number, turn in enumerate(value, start=1)]


def unrated_advice(key: str) -> str:
    """What to do with a list of answers that nothing rates."""
    return (
        f"if the first answer is the better one, read the file as comparisons with `chosen: {key}.0` and "
        f"`rejected: {key}.1` under data.files.columns.comparisons (data.hub.columns)"
    )


def is_message(value: Any) -> bool:
    """Whether a value is a dict with a role."""
    return isinstance(value, dict) and any(map(value.__contains__, ROLE_KEYS))


def asks(value: Any) -> bool:
    """Whether a conversation has a message of the user."""
    return isinstance(value, list) and any(_role_of(turn) == "user" for turn in value if is_message(turn))


def _role_of(message: Row) -> str:
    role = _first_value(message, ROLE_KEYS)
    return _ROLES.get(role.strip().lower(), role) if isinstance(role, str) else ""


def _first_value(message: Row, keys: Sequence[str]) -> Any:
    """The value under the first of the keys that has one."""
    return next((message[key] for key in keys if message.get(key) is not None), None)


def _message(message: Any, key: str, where: str) -> dict[str, str]:
    if not is_message(message):
        found = _message_text(message, key)
        raise RowError("role_order", where, found=found, expected="{'role': ..., 'content': text}")
    _check_media(message, key, where)
    role = _role_of(message)
    content = _joined_parts(_first_value(message, CONTENT_KEYS))
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise RowError(
            "role_order",
            where,
            found=_message_text(message, key),
            expected="{'role': 'system', 'user' or 'assistant', 'content': text}",
            do="fix the message, or write its role in one of these words",
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


def _check_media(message: Row, key: str, where: str) -> None:
    """Raises RowError for a message with a tool call, the result of one, or an image."""
    content = _first_value(message, CONTENT_KEYS)
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    kinds = [part.get("type") for part in parts]
    media = next((kind for kind in kinds if isinstance(kind, str) and kind not in ("text", "")), "")
    calls = next((name for name in _CALLS if message.get(name)), "")
    tool = _role_of(message).lower() in ("tool", "function", "function_call", "observation", "ipython")
    if media or calls or tool:
        found = f"a part of type {media[:40]!r}" if media else f"{calls!r}" if calls else "the role of a tool"
        raise RowError(
            "unsupported_message",
            where,
            found=f"{found} in '{key}'",
            expected="messages of text alone",
            do="leave such rows out",
        )


def _joined_parts(content: Any) -> Any:
    """A content of text parts as one text, each part a paragraph; any other content as it is."""
    if not isinstance(content, list) or not content:
        return content
    texts = [_text_of_part(part) for part in content]
    return "\n\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else content


def _text_of_part(part: Any) -> Any:
    """The text of {type: text, text}, other keys of it empty: no image, no file."""
    if not isinstance(part, dict) or part.get("type", "text") != "text":
        return part if isinstance(part, str) else None
    filled = {key: value for key, value in part.items() if value and key != "type"}
    is_text = filled.keys() <= {"text"} or filled.keys() <= {"value"}
    return part.get("text", part.get("value")) if is_text else None


def _message_text(message: Any, key: str) -> str:
    if not isinstance(message, dict):
        return f"{type_and_value(message)} in '{key}'"
    shown = ", ".join(f"{shortened(name)}: {shortened(value)}" for name, value in list(message.items())[:3])
    return f"{{{shown}}} in '{key}'"


def answered(messages: list[dict[str, str]], where: str) -> tuple[str, str]:
    """A conversation that ends with the assistant, as query and response."""
    try:
        return messages_to_dialogue(messages, where=where)
    except UserError as error:
        raise as_row_error("role_order", error) from None


# Earlier turns -------------------------------------------------------------------------------------


def earlier_turns(value: Any, key: str, where: str) -> list[dict[str, str]]:
    """A history as messages: messages, pairs of question and answer or of role and text, or texts by turns.

    Raises:
        RowError: It is none of these.
    """
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        expected = "a list of messages, of [question, answer] pairs or of texts by turns"
        raise bad_value("role_order", where, key, type_and_value(value), expected)
    value = _turns_with_roles(value) or value
    if all(isinstance(turn, str) for turn in value):
        value = [value[number : number + 2] for number in range(0, len(value), 2)]
    messages = []
    for turn in value:
        if is_message(turn):
            messages.append(turn)
            continue
        if isinstance(turn, dict):
            key_groups = (_QUESTIONS, _ANSWERS)
            turn = [next((turn[name] for name in names if name in turn), None) for names in key_groups]
        if not isinstance(turn, list) or not 1 <= len(turn) <= 2:
            raise bad_value("role_order", where, key, shortened(turn), "a question with its answer")
        for role, text in zip(("user", "assistant"), turn, strict=False):
            messages.append({"role": role, "content": text})
    return messages_in(messages, key, where)


_ROLE_MARK = re.compile(rf"\s*({'|'.join(_ROLES)})\s*[:\uff1a]\s*(.*)", re.IGNORECASE | re.DOTALL)


def _turns_with_roles(turns: list[Any]) -> list[Row]:
    """Pairs of role and text, or texts that begin with a role and a colon, as messages; [] if one is not."""
    pairs = []
    for turn in turns:
        match = _ROLE_MARK.fullmatch(turn) if isinstance(turn, str) else None
        pair = list(match.groups()) if match else turn
        is_pair = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        if not is_pair or pair[0].strip().lower() not in _ROLES:
            return []
        pairs.append(pair)
    return [{"role": role, "content": text} for role, text in pairs]


# Containers written as texts -----------------------------------------------------------------------

_NAMES = "|".join((*ROLE_KEYS, "content", "value"))
_MESSAGES = re.compile(rf"""\s*(?:\[\s*)?\{{\s*(["'])({_NAMES})\1\s*:""")
# Columns that hold lists or records where a set has them.
_CONTAINERS = frozenset(
    [
        "responses",
        "scores",
        "score",
        "text",
        "samples",
        "extra",
        "answers",
        "completions",
        "summaries",
        "info",
        "history",
        "chat_history",
        "conversation_history",
        "dialogue_history",
        "dialog_history",
        "previous_turns",
        "previous_messages",
        "past_turns",
        "images",
        "tools",
        "rewards",
    ]
)


def decode_containers(row: Row, where: str, counts: Counter[str]) -> Row:
    """The row with JSON texts decoded if they hold messages, lists or records, as in tables.

    Raises:
        RowError: A text holds messages as Python writes them.
    """
    for key, value in row.items():
        if not isinstance(value, str):
            continue
        has_messages = _MESSAGES.match(value)
        if not has_messages and not (key in _CONTAINERS and value.lstrip().startswith(("[", "{"))):
            continue
        try:
            decoded = json.loads(value)
        except (ValueError, RecursionError):
            if not has_messages or not value.rstrip().endswith(("]", "}")):
                continue
            found = f"messages written as a text ({shortened(value)})"
            do = "write the file from the lists, as JSON Lines"
            expected = "a list of messages, or JSON"
            raise bad_value("not_text", where, key, found, expected, do) from None
        if has_messages and not _is_conversation(decoded):
            continue  # an answer that is JSON itself
        row = row | {key: decoded}
        counts["conversations_in_texts" if has_messages else "lists_in_texts"] += 1
    return row


def _is_conversation(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_message, value))
    return is_message(value) and _role_of(value) in _ROLES.values()
