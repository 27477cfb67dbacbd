"""Prompts with their context: the input of an instruction, earlier turns, a system text."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from apo.core.dialogue import ASSISTANT, HUMAN
from apo.core.records import Row
from apo.datasets.csv_rows import Cell
from apo.datasets.fields import bad_value, filled, query_in, text_in, texts_of_json
from apo.datasets.messages import MEDIA, answered, asks, check_no_tools, earlier_turns, messages_in
from apo.datasets.parsed import Names, ParsedRow
from apo.datasets.prompts import turn_texts

SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = (
    *("history", "chat_history", "conversation_history", "dialogue_history", "dialog_history"),
    *("previous_turns", "previous_messages", "past_turns"),
)
UNREAD_PARTS = (
    *(*MEDIA, "image_id", "img_id", "pixel_values", "attachments"),
    *("tools", "functions", "available_tools", "tool_calls"),
)
# Other names of columns with a part of the prompt. They are not read unless they are mapped.
UNREAD_CONTEXT = (
    *("conversation", "dialogue", "dialog", "chat", "turns", "earlier", "earlier_turns", "inputs"),
    *("dialogue_context", "dialog_context", "conversation_context", "conversation_so_far"),
    *("context_turns", "preamble", "passage"),
    *("past_user_inputs", "generated_responses", "contexts", "facts", "background", "persona", "personality"),
    *("背景", "系统提示", "系統提示", "对话", "對話", "对话历史"),
)

Messages = list[dict[str, str]]


def parse_answer_columns(
    row: Row, keys: Sequence[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> ParsedRow:
    """Answers under several keys to one prompt."""
    responses = [text_in(row[key], key, where) for key in keys]
    return parse_answers(row, responses, scores, where, counts, names)


def parse_answers(
    row: Row, responses: list[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> ParsedRow:
    """Answers to one prompt, which is a text, perhaps with its context and a system text, or messages."""
    key = names["prompt"]
    prompt = _question_text(row[key], key, where)
    if isinstance(prompt, list | dict):
        messages = _with_context(messages_in(prompt, key, where), row, where, names, responses)
        turns = [
            answered([*messages, *messages_in({"role": "assistant", "content": answer}, key, where)], where)
            for answer in responses
        ]
        return ParsedRow.from_pairs(turns, scores)
    query = query_in(_with_input(prompt, row, names, where), key, where, counts)
    if query == prompt and all(response.startswith(query) for response in responses):
        counts["prompts_repeated_in_answers"] += 1
        responses = [response[len(query) :] for response in responses]
    if any(response.startswith(HUMAN) and ASSISTANT in response for response in responses):
        found, expected = "a whole dialogue", "an answer to the prompt"
        do = "remove the row, or leave out the prompt column and set data.format to dialogues"
        raise bad_value("turn_mark", where, "answers", found, expected, do)
    query = query_with_context(query, row, where, names, responses)
    return ParsedRow([query], responses, scores, {})


def query_with_context(query: str, row: Row, where: str, names: Names, responses: Sequence[str] = ()) -> str:
    """A query after the system text and the earlier turns of its row, unless it begins with them.

    One system text is read, the first of that of the query, of the earlier turns, of the column.
    """
    start = max(query.find(HUMAN), 0)
    own, query = query[:start], query[start:]
    history = _history_of(row, where, names)
    if own and history and history[0]["role"] == "system":
        history = history[1:]
    if history:
        query = _after_history(_unanswered(history, _last_turn(query), responses), query, where)
    system = own or _system_of(row, where)
    return system + query if query.startswith(HUMAN) else query


def _question_text(prompt: Any, key: str, where: str) -> Any:
    """The text of a question that is a record, as openai/webgpt_comparisons has it, or a list of one text.

    The messages of a record that holds them beside tools, as the preference files of OpenAI have it.
    """
    if isinstance(prompt, dict) and isinstance(prompt.get("full_text"), str):
        return prompt["full_text"]
    if isinstance(prompt, dict) and isinstance(prompt.get("messages"), list):
        check_no_tools(prompt, key, where)
        return prompt["messages"]
    if isinstance(prompt, Cell) and len(turns := texts_of_json(prompt)) > 1:
        prompt = turns
    if isinstance(prompt, list) and prompt and all(isinstance(turn, str) for turn in prompt):
        if len(prompt) > 1:
            found, expected = f"a list of {len(prompt)} texts", "one text, or a list of messages"
            do = "write them as messages {role, content}, or the earlier turns into a column `history`"
            raise bad_value("not_text", where, key, found, expected, do)
        return prompt[0]
    return prompt


def _with_input(prompt: Any, row: Row, names: Names, where: str) -> Any:
    """An instruction and its input as two paragraphs."""
    input_text = row.get("input") if names["prompt"] == "instruction" else None
    if not isinstance(prompt, str) or not filled(input_text):
        return prompt
    return f"{prompt}\n\n{text_in(input_text, 'input', where)}"


def _system_of(row: Row, where: str) -> str:
    for key in SYSTEM:
        if filled(row.get(key)):
            text = text_in(row[key], key, where)
            if HUMAN in text:
                raise bad_value("turn_mark", where, key, "a turn mark", "a system text without turns")
            return text
    return ""


def _history_of(row: Row, where: str, names: Names) -> Messages:
    """The earlier turns in a separate column of a row."""
    for key in HISTORY:
        if key in row and key not in names.values() and filled(row[key]):
            return earlier_turns(row[key], key, where)
    return []


def _unanswered(history: Messages, question: str, responses: Sequence[str]) -> Messages:
    """The earlier turns without an answer to the question at their end, if it is one of the responses."""
    roles = [message["role"] for message in history[-2:]]
    is_asked = roles == ["user", "assistant"] and history[-2]["content"].strip() == question.strip()
    is_answered = is_asked and history[-1]["content"].strip() in map(str.strip, responses)
    return history[:-1] if is_answered else history


def _last_turn(query: str) -> str:
    return query.removesuffix(ASSISTANT).rpartition(HUMAN)[2]


def _after_history(history: Messages, query: str, where: str) -> str:
    """A query after the earlier turns, unless they end with it or it begins with them."""
    if history[-1]["role"] == "user" and query == f"{HUMAN} {history[-1]['content']}{ASSISTANT}":
        history = history[:-1]
    if not history:
        return query
    earlier = " ".join(answered(history, where))
    return query if query.startswith(earlier) else earlier + query


def _with_context(
    messages: Messages, row: Row, where: str, names: Names, responses: Sequence[str] = ()
) -> Messages:
    """Messages after the system text and the earlier turns of their row, unless they begin with them."""
    history = _history_of(row, where, names)
    if history and messages[: len(history)] != history:
        responses = responses or [text for key in names.values() for text in turn_texts(row.get(key))[-1:]]
        history = _unanswered(history, messages[0]["content"] if messages else "", responses)
        if messages[:1] == history[-1:]:
            history = history[:-1]
        messages = [*history, *messages]
    system = _system_of(row, where)
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def conversation_of(row: Row, key: str, where: str, counts: Counter[str], names: Names) -> tuple[str, str]:
    """The conversation under a key as query and response, after the messages of the prompt that it lacks."""
    if row[key] == []:
        raise bad_value("not_text", where, key, "list []", "a list that is not empty")
    messages = messages_in(row[key], key, where)
    before = _prompt_messages(row, messages, where, counts, names)
    return answered(_with_context([*before, *messages], row, where, names), where)


def _prompt_messages(
    row: Row, messages: Messages, where: str, counts: Counter[str], names: Names
) -> Messages:
    """The messages of the prompt that a conversation under another key lacks."""
    key = names.get("prompt", "")
    prompt = _question_text(row.get(key, []) if key else [], key, where)
    if isinstance(prompt, str) or prompt is None:
        if asks(messages):  # the prompt is one of its turns
            contents = [message["content"].strip() for message in messages]
            counts["prompts_beside_conversations"] += bool(prompt) and str(prompt).strip() not in contents
            return []
        text = text_in(_with_input(prompt, row, names, where), key, where)
        if not text.strip():
            raise bad_value("blank_query", where, key, "a blank text", "a query")
        return [{"role": "user", "content": text}]
    before = messages_in(prompt, key, where)
    if messages[0]["role"] == "system" and messages[1 : 1 + len(before)] == before:
        return []
    overlap = range(min(len(before), len(messages)), 0, -1)
    return before[: -next((size for size in overlap if before[-size:] == messages[:size]), 0) or None]
