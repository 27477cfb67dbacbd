"""Conversations as lists of messages, in the forms of public data sets. A malformed one raises RowError."""

import re
from collections.abc import Sequence
from typing import Any

from apo.core.dialogue import ASSISTANT, HUMAN, messages_to_dialogue
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.fields import (
    as_row_error,
    bad_value,
    filled,
    is_unread,
    no_list,
    shortened,
    text_in,
    type_and_value,
)
from apo.datasets.paired_columns import PAIRED_NAMES

ROLE_KEYS = ("role", "from", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "message", "parts", "utterance")
_TEXT_TYPES = ("text", "input_text", "output_text")  # of a part
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("用户", "用戶", "人类", "ユーザー", "사용자", "usuario", "usuário"), "user"),
    **dict.fromkeys(("utilisateur", "nutzer", "benutzer", "utente", "пользователь"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai", "chatbot"), "assistant"),
    **dict.fromkeys(("助手", "助理", "アシスタント", "어시스턴트", "asistente", "assistente"), "assistant"),
    **dict.fromkeys(("assistent", "ассистент"), "assistant"),
    **dict.fromkeys(("system", "developer", "系统", "系統", "システム", "시스템", "система"), "system"),
}
# Of earlier turns, which may be written without roles.
_SPEAKERS = ROLES | {"q": "user", "question": "user", "a": "assistant", "answer": "assistant"}
_CALLS = (
    *("tool_calls", "function_call", "tool_call", "function_calls", "tool_use", "tool_responses"),
    *("functions", "tools", "available_tools"),
)
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython", "environment")
# Keys with what is no text.
_PLACES = ("path", "url", "file", "filepath", "filename", "file_name", "bytes", "base64")
MEDIA = tuple(
    f"{medium}{end}"
    for medium in ("image", "img", "picture", "photo", "audio", "video")
    for end in ("", "s", *(f"_{noun}{number}" for noun in _PLACES for number in ("", "s")))
)
_MESSAGE_MEDIA = (*MEDIA, "file", "files", "attachment", "attachments")
_QUESTIONS = ("user", "human", "prompt", "question", "instruction", "input", "query", "q")
_ANSWERS = ("assistant", "gpt", "response", "answer", "output", "bot", "a")


def messages_in(value: Any, key: str, where: str) -> list[dict[str, str]]:
    """Messages as {role, content}, from any common names of keys and roles, or from a single message."""
    if isinstance(value, dict):
        value = [text_in(value, key, where) if is_unread(value) else value]
    if not isinstance(value, list):
        raise bad_value("role_order", where, key, type_and_value(value), "a list of messages")
    if len(value) > 1 and all(isinstance(turn, str) for turn in value):
        found, expected = f"a list of {len(value)} texts", "one text, or a list of messages"
        raise bad_value("not_text", where, key, found, expected, unrated_advice(key))
    return [_message(turn, key, f"{where}: message {number}") for number, turn in enumerate(value, start=1)]


def unrated_advice(key: str) -> str:
    """What to do with a list of answers that nothing rates."""
    if key in ("chosen", "rejected", *PAIRED_NAMES):
        return "write turns as messages: {'role': 'user' or 'assistant', 'content': text}"
    return (
        f"if the first answer is the better one, read the file as comparisons with `chosen: {key}.0` and "
        f"`rejected: {key}.1` under data.files.columns.comparisons (data.hub.columns)"
    )


def is_message(value: Any) -> bool:
    """Whether a value is a dict with a role."""
    return isinstance(value, dict) and any(map(value.__contains__, ROLE_KEYS))


def asks(value: Any) -> bool:
    """Whether a conversation has a message of the user."""
    return isinstance(value, list) and any(role_of(turn) == "user" for turn in value if is_message(turn))


def role_of(message: Row) -> str:
    role = _first_value(message, ROLE_KEYS)
    return ROLES.get(role.strip().lower(), role) if isinstance(role, str) else ""


def _first_value(message: Row, keys: Sequence[str]) -> Any:
    """The value under the first of the keys that has one."""
    return next((message[key] for key in keys if message.get(key) is not None), None)


def _content_of(message: Row) -> Any:
    """The first content that is not blank; a blank one if there is no other."""
    contents = [message[key] for key in CONTENT_KEYS if message.get(key) is not None]
    return next(filter(filled, contents), contents[0] if contents else None)


def _message(message: Any, key: str, where: str) -> dict[str, str]:
    if not is_message(message):
        found = _message_text(message, key)
        raise RowError("role_order", where, found=found, expected="{'role': ..., 'content': text}")
    _check_media(message, key, where)
    role = role_of(message)
    content = _joined_parts(_content_of(message))
    is_role = role in ("system", "user", "assistant")
    if not is_role or not isinstance(content, str):
        do = (
            "write its text under 'content'" if is_role else "fix it, or write its role in one of these words"
        )
        raise RowError(
            "role_order",
            where,
            found=_message_text(message, key),
            expected="{'role': 'system', 'user' or 'assistant', 'content': text}",
            do=do,
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
    """Raises RowError for a message with a tool call, the result of one, an image or a file."""
    contents = [message.get(name) for name in CONTENT_KEYS]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    kinds = [part.get("type") for part in [*parts, *contents] if isinstance(part, dict)]
    media = next((kind for kind in kinds if isinstance(kind, str) and kind not in (*_TEXT_TYPES, "")), "")
    calls = next((name for name in _CALLS if filled(message.get(name))), "")
    calls = calls or next((name for name in _MESSAGE_MEDIA if filled(message.get(name))), "")
    tool = role_of(message).lower() in _TOOL_ROLES
    if media or calls or tool:
        found = f"a part of type {media[:40]!r}" if media else f"{calls!r}" if calls else "the role of a tool"
        raise _no_text_alone(found, key, where)


def _no_text_alone(found: str, key: str, where: str) -> RowError:
    expected = "messages of text alone"
    return bad_value("unsupported_message", where, key, found, expected, "leave such rows out")


def check_no_tools(prompt: Row, key: str, where: str) -> None:
    """Raises RowError for a record with messages and the tools that they may call."""
    tools = next((name for name in ("tools", "functions") if filled(prompt.get(name))), "")
    if tools:
        raise _no_text_alone(f"{tools!r}", key, where)


def _joined_parts(content: Any) -> Any:
    """A content of text parts as one text, each part a paragraph; any other content as it is."""
    if isinstance(content, dict):
        content = (
            content.get("parts", [content]) if content.get("content_type", "text") == "text" else content
        )
    if not isinstance(content, list) or not content:
        return content
    texts = [_text_of_part(part) for part in content]
    return "\n\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else content


def _text_of_part(part: Any) -> Any:
    """The text of {type: text, text}, other keys of it empty: no image, no file."""
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_TYPES:
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
        raise no_list("role_order", where, key, value, expected)
    value = _turns_with_roles(value) or value
    if all(isinstance(turn, str) for turn in value):
        value = [value[number : number + 2] for number in range(0, len(value), 2)]
    messages = []
    for turn in value:
        if is_message(turn):
            messages.append(turn)
            continue
        pair = _question_and_answer(turn) if isinstance(turn, dict) else turn
        if not isinstance(pair, list) or not 1 <= len(pair) <= 2:
            found = _message_text(turn, key) if isinstance(turn, dict) else f"{shortened(turn)} in '{key}'"
            expected = "messages {role, content}, or questions with their answers as lists of two texts"
            raise RowError("role_order", where, found=found, expected=expected)
        for role, text in zip(("user", "assistant"), pair, strict=False):
            messages.append({"role": role, "content": text})
    return messages_in(messages, key, where)


def _question_and_answer(turn: Row) -> list[Any]:
    """The question and the answer of a record, by any common names; [] if it lacks one."""
    named = {key.lower(): value for key, value in turn.items()}
    groups = (_QUESTIONS, _ANSWERS)
    pair = [next((named[name] for name in names if name in named), None) for names in groups]
    return pair if None not in pair else []


_ROLE_MARK = re.compile(rf"\s*({'|'.join(_SPEAKERS)})\s*[:\uff1a]\s*(.*)", re.IGNORECASE | re.DOTALL)


def _turns_with_roles(turns: list[Any]) -> list[Row]:
    """Pairs of role and text, or texts that begin with a role and a colon, as messages; [] if one is not."""
    names, texts = [], []
    for turn in turns:
        match = _ROLE_MARK.fullmatch(turn) if isinstance(turn, str) else None
        pair = list(match.groups()) if match else turn
        is_pair = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        if not is_pair or pair[0].strip().lower() not in _SPEAKERS:
            return []
        names.append(pair[0].strip().lower())
        texts.append(pair[1])
    roles = [_SPEAKERS[name] for name in names]
    if not ROLES.keys() >= {*names} and roles[:2] != ["user", "assistant"]:
        return []  # a text that is a letter
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
