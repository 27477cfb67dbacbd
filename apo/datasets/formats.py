"""What one row of each format says: the functions that turn it into queries, responses and scores."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.fields import (
    answered,
    messages_in,
    number_of_cell,
    query_in,
    refuse,
    scores_in,
    text_in,
    texts_in,
    whole_dialogue,
)
from apo.text.dialogue import ASSISTANT, HUMAN

SEPARATOR = "<sep>"
SAMPLE = re.compile(r"sample_(\d{1,9})")
_OTHER_ANSWER = re.compile(r"hh_best|.*gpt4.*|.*ans_.*")


class ParsedRow(NamedTuple):
    """What one row says: responses with the query that each belongs to, scores where it has them."""

    queries: list[str]
    responses: list[str]
    scores: list[float]
    extra: dict[str, str]


Parse = Callable[[Row, str, Counter[str]], ParsedRow]
Names = Mapping[str, str]  # the key that stands for a part of the row, such as {"prompt": "question"}
Bind = Callable[[Row, Names], Parse]  # from the first row of a file to the function that reads all its rows


def always(parse: Parse) -> Bind:
    return lambda first, names: parse


# Comparisons of this project and of the authors ----------------------------------------------------


def own_comparison(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    responses = texts_in(row, "responses", where)
    scores = scores_in(row, "scores", len(responses), where)
    return ParsedRow([query_in(row["query"], "query", where, counts)], responses, scores, {})


def by_separator(first: Row, names: Names) -> Parse:
    texts = first["text"]
    starts = isinstance(texts, list) and bool(texts) and isinstance(texts[0], str) and SEPARATOR in texts[0]
    return _joined if starts else _joined_whole


def _joined(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    pairs = []
    for text in texts_in(row, "text", where):
        times = text.count(SEPARATOR)
        if times != 1:
            refuse("separator", where, "text", f"{times} times {SEPARATOR}", f"query{SEPARATOR}response")
        query, _, response = text.partition(SEPARATOR)
        pairs.append((query, response))
    written = dict.fromkeys(query for query, _ in pairs)
    queries = {query: query_in(query, "text", where, counts) for query in written}
    return _with_scores([(queries[query], response) for query, response in pairs], row, where)


def _joined_whole(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    texts = texts_in(row, "text", where)
    if any(SEPARATOR in text for text in texts):
        refuse("separator", where, "text", SEPARATOR, "whole dialogues without it, as in the first row")
    return _with_scores([whole_dialogue(text, where) for text in texts], row, where)


def _with_scores(pairs: list[tuple[str, str]], row: Row, where: str) -> ParsedRow:
    key = "scores" if "scores" in row else "score"
    return of_pairs(pairs, scores_in(row, key, len(pairs), where))


def of_pairs(pairs: Sequence[tuple[str, str]], scores: list[float]) -> ParsedRow:
    return ParsedRow([query for query, _ in pairs], [response for _, response in pairs], scores, {})


# Pairs ---------------------------------------------------------------------------------------------


def pair(first: Row, names: Names) -> Parse:
    """A prompt with a chosen and a rejected answer: texts, messages, or a list of texts for each side."""
    sides = (names["chosen"], names["rejected"])
    grades = _grades_beside(first, sides)
    if any(_is_list_of_texts(first[side]) for side in sides):
        parse = _of_lists(sides, names)
    elif isinstance(first[sides[0]], list | dict):

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return of_pairs([conversation_of(row, side, where, counts, names) for side in sides], [1.0, 0.0])

    else:

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return prompted(row, sides, [1.0, 0.0], where, counts, names)

    def counted(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        found = parse(row, where, counts)
        _compare_grades(row, grades, counts)
        return found

    return counted if grades else parse


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _of_lists(sides: tuple[str, str], names: Names) -> Parse:
    """Several answers chosen, several rejected: each of the first is better than each of the second."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [texts_in({side: _listed(row[side])}, side, where) for side in sides]
        scores = [1.0] * len(texts[0]) + [0.0] * len(texts[1])
        return answers_to(row, [*texts[0], *texts[1]], scores, where, counts, names)

    return parse


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _grades_beside(first: Row, sides: tuple[str, str]) -> tuple[str, str] | None:
    """Keys of the grades that chosen and rejected were given, such as score_chosen and score_rejected."""
    forms = [form for word in ("score", "rating", "avg_rating") for form in (f"{word}_{{}}", f"{{}}_{word}")]
    forms += [form.replace("_", "-") for form in forms]
    for form in forms:
        keys = (form.format("chosen"), form.format("rejected"))
        if first.keys() >= {*keys} and not {*keys} & {*sides}:
            return keys
    return None


def _compare_grades(row: Row, grades: tuple[str, str] | None, counts: Counter[str]) -> None:
    """Counts pairs whose grades say nothing, or the opposite; the pair stays as it is given."""
    chosen, rejected = (number_of_cell(row.get(key)) for key in grades or ("", ""))
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (chosen, rejected)):
        counts["pairs_graded_alike"] += chosen == rejected
        counts["pairs_graded_the_other_way"] += chosen < rejected


def whole_pair(first: Row, names: Names) -> Parse:
    """A chosen and a rejected dialogue, whole."""
    if isinstance(first["chosen"], list | dict):
        return pair(first, names)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [text_in(row[side], side, where) for side in ("chosen", "rejected")]
        return of_pairs([whole_dialogue(text, where) for text in texts], [1.0, 0.0])

    return parse


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
        before = _with_system(messages_in(prompt, key, where), row, where)
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
        do = "leave the prompt out or set data.format to dialogues, or remove the row"
        refuse("turn_mark", where, "answers", found, expected, do)
    system = _system_of(row, where)
    return ParsedRow([system + query], responses, scores, {})


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


def _system_of(row: Row, where: str) -> str:
    for key in ("system", "system_prompt"):
        if row.get(key) not in (None, ""):
            text = text_in(row[key], key, where)
            if HUMAN in text:
                refuse("turn_mark", where, key, "a turn mark", "a system text without turns")
            return text
    return ""


def _with_system(messages: list[dict[str, str]], row: Row, where: str) -> list[dict[str, str]]:
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
    return answered(_with_system([*before, *messages], row, where), where)


def _before(
    row: Row, messages: list[dict[str, str]], where: str, counts: Counter[str], names: Names
) -> list[dict[str, str]]:
    """The messages of the prompt that come before a conversation which may begin with them, or be whole."""
    key = names.get("prompt", "")
    prompt = _said_in(row.get(key, []))
    asks = any(message["role"] == "user" for message in messages)
    if isinstance(prompt, str) or prompt is None:
        if asks:  # it is whole; the prompt is one of its turns
            said = [message["content"].strip() for message in messages]
            counts["prompts_beside_conversations"] += bool(prompt) and str(prompt).strip() not in said
            return []
        text = text_in(prompt, key, where)
        if not text.strip():
            refuse("blank_query", where, key, "a blank text", "a query")
        return [{"role": "user", "content": text}]
    before = messages_in(prompt, key, where)
    if messages[0]["role"] == "system" and messages[1 : 1 + len(before)] == before:
        return []
    overlap = range(min(len(before), len(messages)), 0, -1)
    return before[: -next((n for n in overlap if before[-n:] == messages[:n]), 0) or None]


# Golden answers, samples, demonstrations -----------------------------------------------------------


def golden(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    if row["golden"] is None:
        refuse("missing_golden", where, "golden", "null", "a golden answer")
    answer = text_in(row["golden"], "golden", where)
    return ParsedRow([query_in(row["query"], "query", where, counts)], [answer], [], {})


def own_samples(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    extra = row.get("extra", {})
    if not isinstance(extra, dict):
        refuse("not_text", where, "extra", type(extra).__name__, "an object of answers by name")
    extra = _answers_by_name(extra, where)
    samples = texts_in(row, "samples", where)
    return ParsedRow([query_in(row["query"], "query", where, counts)], samples, [], extra)


def numbered_samples(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
    found = {int(match[1]): key for key in row if (match := SAMPLE.fullmatch(key))}
    if len(found) < sum(1 for key in row if SAMPLE.fullmatch(key)):
        refuse("other_keys", where, "sample_...", "one number written in two ways", "each number once")
    samples = [text_in(row[found[number]], found[number], where) for number in sorted(found)]
    extra = _answers_by_name({key: row[key] for key in row if _OTHER_ANSWER.fullmatch(key)}, where)
    counts["rows_with_renumbered_samples"] += sorted(found) != list(range(len(found)))
    return ParsedRow([query_in(row["query"], "query", where, counts)], samples, [], extra)


def _answers_by_name(answers: dict[str, Any], where: str) -> dict[str, str]:
    return {
        text_in(name, ascii(name[:40]), where): text_in(answer, name[:40], where)
        for name, answer in answers.items()
    }


def demonstration(first: Row, names: Names) -> Parse:
    """A prompt and its answer, as texts or as messages."""
    key = names["answer"]
    talks = isinstance(first[key], list | dict)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        if row.get("label") is False:
            expected = "an answer to learn from"
            refuse("bad_score", where, "label", "false, for an answer that nobody wants", expected)
        if talks:
            return of_pairs([conversation_of(row, key, where, counts, names)], [])
        return prompted(row, (key,), [], where, counts, names)

    return parse


def conversation(key: str, names: Names) -> Parse:
    """A conversation whose last message is the answer."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        return of_pairs([conversation_of(row, key, where, counts, names)], [])

    return parse


def with_columns(row: Row, columns: Mapping[str, str], where: str) -> Row:
    """A row under our keys: {ours: theirs}, theirs a key or a path such as `info.post` and `answers.0.text`.

    Raises:
        RowError: A row has no such column.
    """
    return {ours: _at(row, theirs, where) for ours, theirs in columns.items()}


def _at(row: Row, path: str, where: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal() and len(step) < 6 and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise RowError(
                "other_keys",
                where,
                found=f"keys {shown(row)}",
                expected=f"a column {path!r}",
                do="correct the `columns` in params.yaml, or fix the row",
            )
    return value


def shown(row: Row) -> list[str]:
    """The keys of a row for a message."""
    keys = sorted(key[:40] for key in row)
    return keys if len(keys) <= 30 else [*keys[:30], "..."]
