"""What is asked, with all that belongs to it: the input of an instruction, earlier turns, a system text."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from apo.core.dialogue import ASSISTANT, HUMAN
from apo.core.records import Row
from apo.datasets.fields import query_in, refuse, text_in
from apo.datasets.messages import answered, asks, earlier_turns, messages_in
from apo.datasets.parsed import Names, ParsedRow, of_pairs

SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = (
    *("history", "chat_history", "conversation_history", "dialogue_history", "dialog_history"),
    *("previous_turns", "previous_messages", "past_turns"),
)
MEDIA = ("image", "images", "audio", "audios", "video", "videos", "tools", "functions", "tool_calls")


def prompted(
    row: Row, sides: Sequence[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> ParsedRow:
    """Answers under several keys to one prompt."""
    responses = [text_in(row[side], side, where) for side in sides]
    return answers_to(row, responses, scores, where, counts, names)


def answers_to(
    row: Row, responses: list[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> ParsedRow:
    """Answers to one prompt, which is a text, perhaps with its context and a system text, or messages."""
    key = names["prompt"]
    prompt = _said_in(row[key])
    if isinstance(prompt, list | dict):
        before = _whole(messages_in(prompt, key, where), row, where, names)
        turns = [
            answered([*before, *messages_in({"role": "assistant", "content": one}, key, where)], where)
            for one in responses
        ]
        return of_pairs(turns, scores)
    query = query_in(_in_context(prompt, row, names, where), key, where, counts)
    if query == prompt and all(response.startswith(query) for response in responses):
        counts["prompts_repeated_in_answers"] += 1
        responses = [response[len(query) :] for response in responses]
    if any(response.startswith(HUMAN) and ASSISTANT in response for response in responses):
        found, expected = "a whole dialogue", "an answer to the prompt"
        do = "remove the row, or leave out the prompt column and set data.format to dialogues"
        refuse("turn_mark", where, "answers", found, expected, do)
    history = _history_of(row, where, names)
    if history:
        query = _behind(history, query, where)
    return ParsedRow([_system_of(row, where) + query], responses, scores, {})


def _said_in(prompt: Any) -> Any:
    """The text of a question that is a record, as openai/webgpt_comparisons has it."""
    if isinstance(prompt, dict) and isinstance(prompt.get("full_text"), str):
        return prompt["full_text"]
    return prompt


def _in_context(prompt: Any, row: Row, names: Names, where: str) -> Any:
    """An instruction with the input that it is about, each a paragraph."""
    about = row.get("input") if names["prompt"] == "instruction" else None
    if not isinstance(prompt, str) or about in (None, ""):
        return prompt
    return f"{prompt}\n\n{text_in(about, 'input', where)}"


def filled(value: Any) -> bool:
    """Whether a column holds something: not null, blank, or empty throughout."""
    if isinstance(value, str):
        return value.strip() not in ("", "[]", "{}", "null")
    if isinstance(value, list):
        return any(map(filled, value))
    if isinstance(value, dict):
        return any(map(filled, value.values()))
    return value is not None


def _system_of(row: Row, where: str) -> str:
    for key in SYSTEM:
        if row.get(key) not in (None, ""):
            text = text_in(row[key], key, where)
            if HUMAN in text:
                refuse("turn_mark", where, key, "a turn mark", "a system text without turns")
            return text
    return ""


def _history_of(row: Row, where: str, names: Names) -> list[dict[str, str]]:
    """The earlier turns that a row has in a column of their own."""
    for key in HISTORY:
        if key in row and key not in names.values() and filled(row[key]):
            return earlier_turns(row[key], key, where)
    return []


def _behind(history: list[dict[str, str]], query: str, where: str) -> str:
    """A query behind earlier turns, which may end with it, or be in it already."""
    if history[-1]["role"] == "user" and query == f"{HUMAN} {history[-1]['content']}{ASSISTANT}":
        history = history[:-1]
    if not history:
        return query
    earlier = " ".join(answered(history, where))
    return query if query.startswith(earlier) else earlier + query


def _whole(messages: list[dict[str, str]], row: Row, where: str, names: Names) -> list[dict[str, str]]:
    """Messages behind the earlier turns and the system text of their row, as far as they lack them."""
    history = _history_of(row, where, names)
    if history and messages[: len(history)] != history:
        if history[-1] == messages[0]:
            history = history[:-1]
        messages = [*history, *messages]
    system = _system_of(row, where)
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def conversation_of(row: Row, key: str, where: str, counts: Counter[str], names: Names) -> tuple[str, str]:
    """Messages under a key, behind those of the prompt as far as they are not repeated in them."""
    if row[key] == []:
        refuse("not_text", where, key, "list []", "a list that is not empty")
    messages = messages_in(row[key], key, where)
    before = _before(row, messages, where, counts, names)
    return answered(_whole([*before, *messages], row, where, names), where)


def _before(
    row: Row, messages: list[dict[str, str]], where: str, counts: Counter[str], names: Names
) -> list[dict[str, str]]:
    """The messages of the prompt that come before a conversation which may begin with them, or be whole."""
    key = names.get("prompt", "")
    prompt = _said_in(row.get(key, []))
    if isinstance(prompt, str) or prompt is None:
        if asks(messages):  # it is whole; the prompt is one of its turns
            said = [message["content"].strip() for message in messages]
            counts["prompts_beside_conversations"] += bool(prompt) and str(prompt).strip() not in said
            return []
        text = text_in(_in_context(prompt, row, names, where), key, where)
        if not text.strip():
            refuse("blank_query", where, key, "a blank text", "a query")
        return [{"role": "user", "content": text}]
    before = messages_in(prompt, key, where)
    if messages[0]["role"] == "system" and messages[1 : 1 + len(before)] == before:
        return []
    overlap = range(min(len(before), len(messages)), 0, -1)
    return before[: -next((n for n in overlap if before[-n:] == messages[:n]), 0) or None]
