"""What one row of each shape says: the functions that turn it into queries, responses and scores."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from apo.dialogue import HUMAN
from apo.errors import RowError
from apo.reading.values import (
    answered,
    list_in,
    messages_in,
    number_in,
    query_in,
    refuse,
    scores_in,
    text_in,
    texts_in,
    whole_dialogue,
)
from apo.records import Row

SEPARATOR = "<sep>"
SAMPLE = re.compile(r"sample_(\d{1,9})")
_OTHER_ANSWER = re.compile(r"hh_best|.*gpt4.*|.*ans_.*")


class Found(NamedTuple):
    """What one row says: responses with the query that each belongs to, scores where it has them."""

    queries: list[str]
    responses: list[str]
    scores: list[float]
    extra: dict[str, str]


Parse = Callable[[Row, str, Counter[str]], Found]
Names = Mapping[str, str]  # the key that stands for a part of the row, such as {"prompt": "question"}
Bind = Callable[[Row, Names], Parse]  # from the first row of a file to the function that reads all its rows


def always(parse: Parse) -> Bind:
    return lambda first, names: parse


# Comparisons of this project and of the authors ----------------------------------------------------


def own_comparison(row: Row, where: str, counts: Counter[str]) -> Found:
    responses = texts_in(row, "responses", where)
    scores = scores_in(row, "scores", len(responses), where)
    return Found([query_in(row["query"], "query", where, counts)], responses, scores, {})


def by_separator(first: Row, names: Names) -> Parse:
    texts = first["text"]
    starts = isinstance(texts, list) and bool(texts) and isinstance(texts[0], str) and SEPARATOR in texts[0]
    return _joined if starts else _joined_whole


def _joined(row: Row, where: str, counts: Counter[str]) -> Found:
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


def _joined_whole(row: Row, where: str, counts: Counter[str]) -> Found:
    texts = texts_in(row, "text", where)
    if any(SEPARATOR in text for text in texts):
        refuse("separator", where, "text", SEPARATOR, "whole dialogues without it, as in the first row")
    return _with_scores([whole_dialogue(text, where) for text in texts], row, where)


def _with_scores(pairs: list[tuple[str, str]], row: Row, where: str) -> Found:
    key = "scores" if "scores" in row else "score"
    return _of_pairs(pairs, scores_in(row, key, len(pairs), where))


def _of_pairs(pairs: Sequence[tuple[str, str]], scores: list[float]) -> Found:
    return Found([query for query, _ in pairs], [response for _, response in pairs], scores, {})


# Pairs ---------------------------------------------------------------------------------------------


def pair(first: Row, names: Names) -> Parse:
    """A prompt with a chosen and a rejected answer, as texts or as messages."""
    sides = (names["chosen"], names["rejected"])
    if isinstance(first[sides[0]], list | dict):

        def parse_messages(row: Row, where: str, counts: Counter[str]) -> Found:
            return _of_pairs([_conversation(row, side, where, names) for side in sides], [1.0, 0.0])

        return parse_messages

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        return _prompted(row, sides, [1.0, 0.0], where, counts, names)

    return parse


def whole_pair(first: Row, names: Names) -> Parse:
    """A chosen and a rejected dialogue, whole."""
    if isinstance(first["chosen"], list | dict):
        return pair(first, names)

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        texts = [text_in(row[side], side, where) for side in ("chosen", "rejected")]
        return _of_pairs([whole_dialogue(text, where) for text in texts], [1.0, 0.0])

    return parse


def _prompted(
    row: Row, sides: Sequence[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> Found:
    """Answers under several keys to one prompt."""
    responses = [text_in(row[side], side, where) for side in sides]
    return _answers_to(row, responses, scores, where, counts, names)


def _answers_to(
    row: Row, responses: list[str], scores: list[float], where: str, counts: Counter[str], names: Names
) -> Found:
    """Answers to one prompt, which is a text, perhaps with its context and a system text, or messages."""
    key = names["prompt"]
    prompt = row[key]
    if isinstance(prompt, list | dict):
        before = _with_system(messages_in(prompt, key, where), row, where)
        turns = [
            answered([*before, *messages_in({"role": "assistant", "content": one}, key, where)], where)
            for one in responses
        ]
        return _of_pairs(turns, scores)
    query = query_in(_in_context(prompt, row, names, where), key, where, counts)
    if query == prompt and all(response.startswith(query) for response in responses):
        counts["prompts_repeated_in_answers"] += 1
        responses = [response[len(query) :] for response in responses]
    system = _system_of(row, where)
    return Found([system + query], responses, scores, {})


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


def _conversation(row: Row, key: str, where: str, names: Names) -> tuple[str, str]:
    """Messages under a key, behind those of the prompt where it is given and not repeated in them."""
    if row[key] == []:
        refuse("not_text", where, key, "list []", "a list that is not empty")
    messages = messages_in(row[key], key, where)
    prompt = row.get(names.get("prompt", ""), [])
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    before = messages_in(prompt, names.get("prompt", ""), where)
    if messages[: len(before)] != before and not _is_asked(messages, before):
        messages = before + messages
    return answered(_with_system(messages, row, where), where)


def _is_asked(messages: list[dict[str, str]], before: list[dict[str, str]]) -> bool:
    """Whether messages begin with a system message and then with the prompt."""
    return messages[0]["role"] == "system" and messages[1 : 1 + len(before)] == before


# Public preference sets ----------------------------------------------------------------------------


def indexed(first: Row, names: Names) -> Parse:
    """Two responses and the index of the better one, as PKU-SafeRLHF has it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        better = row[names["better"]]
        if better not in (0, 1) or isinstance(better, bool):
            found = f"{better!r:.40}" if isinstance(better, int | float | None) else type(better).__name__
            refuse("bad_score", where, names["better"], found, "0 or 1, the index of the better response")
        scores = [float(better == 0), float(better == 1)]
        return _prompted(row, ("response_0", "response_1"), scores, where, counts, names)

    return parse


def scored(first: Row, names: Names) -> Parse:
    """Two responses, each with a score under a key of its own."""

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        scores = [number_in(row[key], key, where) for key in ("score_0", "score_1")]
        return _prompted(row, ("response_0", "response_1"), scores, where, counts, names)

    return parse


def by_strength(first: Row, names: Names) -> Parse:
    """Two responses and how much the second is better, below 0 where the first is, as HelpSteer has it."""
    sides = (names["first"], names["second"])

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        strength = number_in(row[names["strength"]], names["strength"], where)
        scores = [max(-strength, 0.0), max(strength, 0.0)]
        return _prompted(row, sides, scores, where, counts, names)

    return parse


def history(first: Row, names: Names) -> Parse:
    """A post with two comments, label 1 where A is preferred, as the Stanford Human Preferences have it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        label = row["labels"]
        if label not in (0, 1) or isinstance(label, bool):
            refuse("bad_score", where, "labels", f"{type(label).__name__}", "1 where A is preferred, or 0")
        scores = [float(label), 1.0 - float(label)]
        return _prompted(row, ("human_ref_A", "human_ref_B"), scores, where, counts, {"prompt": "history"})

    return parse


_ANSWERS = ("answer", "text", "response")
_GRADES = {"rank": -1.0, "pm_score": 1.0, "overall_score": 1.0, "score": 1.0}  # rank 1 is the best


def listed(key: str) -> Bind:
    """A prompt with a list of answers, each with its rank or score, as Nectar and UltraFeedback have it."""

    def bind(first: Row, names: Names) -> Parse:
        def parse(row: Row, where: str, counts: Counter[str]) -> Found:
            graded = [_graded(one, key, where) for one in list_in(row, key, where)]
            texts, scores = [text for text, _ in graded], [score for _, score in graded]
            return _answers_to(row, texts, scores, where, counts, names)

        return parse

    return bind


def _graded(value: Any, key: str, where: str) -> tuple[str, float]:
    texts = [name for name in _ANSWERS if isinstance(value, dict) and value.get(name) is not None]
    grades = [name for name in _GRADES if isinstance(value, dict) and value.get(name) is not None]
    if len(texts) != 1 or len(grades) != 1:
        found = f"an entry with {texts or 'no text'} and {grades or 'no score'}"
        expected = f"one of {', '.join(_ANSWERS)} and one of {', '.join(_GRADES)}"
        refuse("not_text" if len(texts) != 1 else "bad_score", where, key, found, expected)
    return text_in(value[texts[0]], key, where), _GRADES[grades[0]] * number_in(value[grades[0]], key, where)


def arena(first: Row, names: Names) -> Parse:
    """Two conversations and the winner, as Chatbot Arena has it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        winner = row["winner"]
        if not isinstance(winner, str) or not winner.startswith(("model_a", "model_b", "tie")):
            expected = "'model_a', 'model_b' or 'tie'"
            refuse("bad_score", where, "winner", f"{type(winner).__name__} {str(winner)[:40]!r}", expected)
        sides = [_conversation(row, side, where, {}) for side in ("conversation_a", "conversation_b")]
        return _of_pairs(sides, [float(winner == "model_a"), float(winner == "model_b")])

    return parse


# Golden answers, samples, demonstrations -----------------------------------------------------------


def golden(row: Row, where: str, counts: Counter[str]) -> Found:
    if row["golden"] is None:
        refuse("missing_golden", where, "golden", "null", "a golden answer")
    answer = text_in(row["golden"], "golden", where)
    return Found([query_in(row["query"], "query", where, counts)], [answer], [], {})


def own_samples(row: Row, where: str, counts: Counter[str]) -> Found:
    extra = row.get("extra", {})
    if not isinstance(extra, dict):
        refuse("not_text", where, "extra", type(extra).__name__, "an object of answers by name")
    extra = _answers_by_name(extra, where)
    samples = texts_in(row, "samples", where)
    return Found([query_in(row["query"], "query", where, counts)], samples, [], extra)


def numbered_samples(row: Row, where: str, counts: Counter[str]) -> Found:
    found = {int(match[1]): key for key in row if (match := SAMPLE.fullmatch(key))}
    if len(found) < sum(1 for key in row if SAMPLE.fullmatch(key)):
        refuse("other_keys", where, "sample_...", "one number written in two ways", "each number once")
    samples = [text_in(row[found[number]], found[number], where) for number in sorted(found)]
    extra = _answers_by_name({key: row[key] for key in row if _OTHER_ANSWER.fullmatch(key)}, where)
    counts["rows_with_renumbered_samples"] += sorted(found) != list(range(len(found)))
    return Found([query_in(row["query"], "query", where, counts)], samples, [], extra)


def _answers_by_name(answers: dict[str, Any], where: str) -> dict[str, str]:
    return {
        text_in(name, ascii(name[:40]), where): text_in(answer, name[:40], where)
        for name, answer in answers.items()
    }


def demonstration(first: Row, names: Names) -> Parse:
    """A prompt and its answer, as texts or as messages."""
    key = names["answer"]
    if isinstance(first[key], list | dict):
        return conversation(key, names)

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        return _prompted(row, (key,), [], where, counts, names)

    return parse


def conversation(key: str, names: Names) -> Parse:
    """A conversation whose last message is the answer."""

    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        return _of_pairs([_conversation(row, key, where, names)], [])

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
                do="correct the `columns` in params.yaml, or mend the row",
            )
    return value


def shown(row: Row) -> list[str]:
    """The keys of a row for a message."""
    keys = sorted(key[:40] for key in row)
    return keys if len(keys) <= 30 else [*keys[:30], "..."]
