"""Rows with a chosen and a rejected answer, and rows with one answer to learn from."""

from collections import Counter
from typing import Any

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.context import (
    HISTORY,
    UNREAD_CONTEXT,
    conversation_of,
    parse_answer_columns,
    parse_answers,
    query_with_context,
)
from apo.datasets.fields import (
    bad_value,
    filled,
    is_list_of_texts,
    text_in,
    texts_in,
    whole_dialogue,
)
from apo.datasets.messages import messages_in
from apo.datasets.pair_verdicts import with_judgements
from apo.datasets.paired_columns import chosen_names_in
from apo.datasets.parsed import Names, Parse, ParsedRow


def choose_pair_parser(first: Row, names: Names) -> Parse:
    """A prompt with a chosen and a rejected answer: texts, messages, or a list of texts for each side."""
    keys = _sides(names)
    parse = _parse_text_pair
    if "prompt" in names and any(is_list_of_texts(first[key]) for key in keys):
        parse = _parse_list_pair
    elif isinstance(first[keys[0]], list | dict):
        parse = _parse_conversation_pair
    return with_judgements(parse, first, names)


def choose_dialogue_pair_parser(first: Row, names: Names) -> Parse:
    """A chosen and a rejected dialogue, each with its prompt."""
    if isinstance(first["chosen"], list | dict):
        return choose_pair_parser(first, names)
    return with_judgements(_parse_dialogue_pair, first, names)


def choose_rejected_parser(first: Row, names: Names) -> Parse:
    """A conversation that ends with the chosen answer, and the answer rejected in its place, or all of it."""
    return with_judgements(_parse_conversation_and_rejected, first, names)


def _sides(names: Names) -> tuple[str, str]:
    return names["chosen"], names["rejected"]


def _parse_text_pair(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    keys = _sides(names)
    if chosen_names_in(row):
        found = f"{row[keys[0]]!r:.40} and {row[keys[1]]!r:.40}, names of answers,"
        raise bad_value(
            "not_text", where, keys[0], found, "the text of the chosen answer, as in the first row"
        )
    return parse_answer_columns(row, keys, [1.0, 0.0], where, counts, names)


def _parse_conversation_pair(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    pairs = [conversation_of(row, key, where, counts, names) for key in _sides(names)]
    return ParsedRow.from_pairs(pairs, [1.0, 0.0])


def _parse_conversation_and_rejected(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """ms-swift and OpenPipe have such rows."""
    query, chosen = conversation_of(row, names["chosen"], where, counts, names)
    key, rejected = names["rejected"], row[names["rejected"]]
    if isinstance(rejected, str):
        return ParsedRow.from_pairs([(query, chosen), (query, rejected)], [1.0, 0.0])
    messages = messages_in(rejected, key, where)
    if len(messages) > 1:
        whole = conversation_of(row, key, where, counts, names)
        return ParsedRow.from_pairs([(query, chosen), whole], [1.0, 0.0])
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    if not answers:
        raise bad_value("role_order", where, key, "no answer", "a message of the assistant")
    return ParsedRow.from_pairs([(query, chosen), (query, answers[0])], [1.0, 0.0])


def _parse_dialogue_pair(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    try:
        pairs = [whole_dialogue(text_in(row[key], key, where), where) for key in _sides(names)]
    except RowError as error:
        others = [key for key, value in row.items() if key not in _sides(names) and isinstance(value, str)]
        column = next((key for key in (*HISTORY, *UNREAD_CONTEXT, *others) if filled(row.get(key))), "")
        if error.code == "no_dialogue" and column:
            error.do = (
                f"if {column!r} (or another column) holds the prompt, map `prompt: {column}` under "
                "data.files.columns.comparisons (data.hub.columns)"
            )
        raise
    pairs = [(query_with_context(query, row, where, names), response) for query, response in pairs]
    return ParsedRow.from_pairs(pairs, [1.0, 0.0])


def _parse_list_pair(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """Several chosen and several rejected answers: each chosen one is better than each rejected one."""
    texts = [texts_in({key: _as_list(row[key])}, key, where) for key in _sides(names)]
    if texts[0][0] == texts[1][0] and min(map(len, texts)) > 1:
        found = f"lists of {len(texts[0])} and {len(texts[1])} texts that begin with the same one"
        expected = "a list of different answers on each side, or conversations as lists of messages"
        do = "write turns as messages: {'role': 'user' or 'assistant', 'content': text}"
        raise bad_value("not_text", where, _sides(names)[0], found, expected, do)
    scores = [1.0] * len(texts[0]) + [0.0] * len(texts[1])
    return parse_answers(row, [*texts[0], *texts[1]], scores, where, counts, names)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def choose_demonstration_parser(first: Row, names: Names) -> Parse:
    """A prompt and its answer, as texts or as messages."""
    is_messages = isinstance(first[names["answer"]], list | dict)
    return _parse_conversation_answer if is_messages else _parse_text_answer


def _parse_text_answer(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    return parse_answer_columns(row, [names["answer"]], [], where, counts, names)


def _parse_conversation_answer(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    return parse_conversation(names["answer"], row, where, counts, names)


def parse_conversation(key: str, row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """A conversation whose last message is the answer."""
    return ParsedRow.from_pairs([conversation_of(row, key, where, counts, names)], [])
