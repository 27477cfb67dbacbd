"""The shapes that rows of other people's files have, recognised by their keys, and what each one says."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from apo.dialogue import ASSISTANT, HUMAN, has_turn_marks, messages_to_dialogue, split_dialogue
from apo.errors import UserError
from apo.records import Row

SEPARATOR = "<sep>"
_SAMPLE = re.compile(r"sample_(\d+)")
_ANY = re.compile(r".*", re.DOTALL)
_OTHER_ANSWER = re.compile(r"hh_best|.*gpt4.*|.*ans_.*")


class Found(NamedTuple):
    """What one row says: responses with the query that each belongs to, scores where it has them."""

    queries: list[str]
    responses: list[str]
    scores: list[float]
    extra: dict[str, str]


Parse = Callable[[Row, str, Counter[str]], Found]


@dataclass(frozen=True)
class Shape:
    """One way to write a row.

    Args:
        kind: comparison, golden, samples or demonstration.
        name: Its keys, for messages.
        parse_of: From the first row of a file, whose values tell texts from lists, to the function that
            reads all its rows.
        keys: Keys that must be there.
        without: Keys that make it another shape.
        some_key: What at least one key looks like.
    """

    kind: str
    name: str
    parse_of: Callable[[Row], Parse]
    keys: frozenset[str]
    without: frozenset[str] = frozenset()
    some_key: re.Pattern[str] = _ANY

    def has_keys_of(self, row: Row) -> bool:
        """Whether the row's keys are those of this shape; other keys beside them are not read."""
        return (
            self.keys <= row.keys()
            and not self.without & row.keys()
            and any(map(self.some_key.fullmatch, row))
        )


def recognise(row: Row, shapes: Sequence[Shape], where: str) -> Shape:
    """The one shape of a file's first row.

    Raises:
        UserError: The keys are those of no shape, or of several.
    """
    matches = [shape for shape in shapes if shape.has_keys_of(row)]
    if len(matches) == 1:
        return matches[0]
    problem = "that are of several shapes at once" if matches else "of no known shape"
    raise UserError(
        where,
        found=f"keys {sorted(row)} {problem}",
        expected="one of: " + "; ".join(shape.name for shape in matches or shapes),
        do="rename or remove keys until one shape is left",
    )


# Values --------------------------------------------------------------------------------------------


def text_in(value: Any, key: str, where: str) -> str:
    """A text that can be written as UTF-8 and tokenised.

    Raises:
        UserError: It is no text, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        _refuse(where, key, "null" if value is None else f"{type(value).__name__} {value!r:.40}", "a text")
    if "\0" in value:
        _refuse(where, key, "a NUL character", "text without it")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(where, key, "half of a surrogate pair", "text that is valid Unicode")
    return str(value)


def _list_in(row: Row, key: str, where: str) -> list[Any]:
    value = row[key]
    if not isinstance(value, list) or not value:
        _refuse(where, key, f"{type(value).__name__} {value!r:.40}", "a list that is not empty")
    return list(value)


def _texts_in(row: Row, key: str, where: str) -> list[str]:
    return [text_in(value, key, where) for value in _list_in(row, key, where)]


def _scores_in(row: Row, key: str, count: int, where: str) -> list[float]:
    values = _list_in(row, key, where)
    if len(values) != count:
        _refuse(where, key, f"{len(values)} values for {count} responses", "one score for each response")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            _refuse(where, key, f"the score {value!r:.40}", "finite numbers")
    return [float(value) for value in values]


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _refuse(where: str, key: str, found: str, expected: str) -> None:
    raise UserError(where, found=f"{found} in '{key}'", expected=expected, do="mend or remove the row")


def _query_in(row: Row, key: str, where: str, counts: Counter[str]) -> str:
    """A query in the HH form; plain text becomes its only human turn."""
    text = text_in(row[key], key, where)
    if not text.strip():
        _refuse(where, key, "a blank text", "a query")
    trimmed = text.rstrip()
    if trimmed.endswith(ASSISTANT) and HUMAN in trimmed:
        counts["trimmed_queries"] += trimmed != text
        return trimmed
    if has_turn_marks(text):
        raise UserError(
            where,
            found=f"a query in '{key}' that ends in {text[-40:]!r}",
            expected=f"plain text, or turns that begin with {HUMAN!r} and end with {ASSISTANT!r}",
            do="write the query in one of the two forms",
        )
    counts["wrapped_queries"] += 1
    return f"{HUMAN} {text}{ASSISTANT}"


# Shapes --------------------------------------------------------------------------------------------


def _own_comparison(row: Row, where: str, counts: Counter[str]) -> Found:
    responses = _texts_in(row, "responses", where)
    scores = _scores_in(row, "scores", len(responses), where)
    return Found([_query_in(row, "query", where, counts)], responses, scores, {})


def _joined(row: Row, where: str, counts: Counter[str]) -> Found:
    pairs = []
    for text in _texts_in(row, "text", where):
        if text.count(SEPARATOR) != 1:
            _refuse(where, "text", f"{text.count(SEPARATOR)} times {SEPARATOR}", f"query{SEPARATOR}response")
        query, _, response = text.partition(SEPARATOR)
        pairs.append((query, response))
    written = dict.fromkeys(query for query, _ in pairs)
    queries = {query: _query_in({"text": query}, "text", where, counts) for query in written}
    return _with_scores([(queries[query], response) for query, response in pairs], row, where)


def _joined_whole(row: Row, where: str, counts: Counter[str]) -> Found:
    texts = _texts_in(row, "text", where)
    if any(SEPARATOR in text for text in texts):
        _refuse(where, "text", SEPARATOR, "whole dialogues without it, as in the first row")
    return _with_scores([_whole(text, where) for text in texts], row, where)


def _with_scores(pairs: list[tuple[str, str]], row: Row, where: str) -> Found:
    queries, responses = [query for query, _ in pairs], [response for _, response in pairs]
    key = "scores" if "scores" in row else "score"
    return Found(queries, responses, _scores_in(row, key, len(pairs), where), {})


def _whole(text: str, where: str) -> tuple[str, str]:
    """A whole dialogue; the space after the last mark belongs to the form, not to the response."""
    query, response = split_dialogue(text, where=where)
    return query, response.removeprefix(" ")


def _prompt_pair(row: Row, where: str, counts: Counter[str]) -> Found:
    sides = [text_in(row[side], side, where) for side in ("chosen", "rejected")]
    return Found([_query_in(row, "prompt", where, counts)], sides, [1.0, 0.0], {})


def _whole_pair(row: Row, where: str, counts: Counter[str]) -> Found:
    pairs = [_whole(text_in(row[side], side, where), where) for side in ("chosen", "rejected")]
    return Found([query for query, _ in pairs], [response for _, response in pairs], [1.0, 0.0], {})


def _message_pair(row: Row, where: str, counts: Counter[str]) -> Found:
    pairs = [_conversation(row, side, where) for side in ("chosen", "rejected")]
    return Found([query for query, _ in pairs], [response for _, response in pairs], [1.0, 0.0], {})


def _conversation(row: Row, key: str, where: str) -> tuple[str, str]:
    """Messages under a key, behind those of the prompt where it is given and not repeated in them."""
    messages = _list_in(row, key, where)
    prompt = row.get("prompt", [])
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list):
        _refuse(where, "prompt", type(prompt).__name__, "a list of messages")
    if messages[: len(prompt)] != prompt:
        messages = prompt + messages
    for message in messages:
        text_in(message.get("content", "") if isinstance(message, dict) else "", key, where)
    return messages_to_dialogue(messages, where=where)


def _golden(row: Row, where: str, counts: Counter[str]) -> Found:
    answer = text_in(row["golden"], "golden", where)
    return Found([_query_in(row, "query", where, counts)], [answer], [], {})


def _own_samples(row: Row, where: str, counts: Counter[str]) -> Found:
    extra = row.get("extra", {})
    if not isinstance(extra, dict):
        _refuse(where, "extra", type(extra).__name__, "an object of answers by name")
    extra = _answers_by_name(extra, where)
    samples = _texts_in(row, "samples", where)
    return Found([_query_in(row, "query", where, counts)], samples, [], extra)


def _numbered_samples(row: Row, where: str, counts: Counter[str]) -> Found:
    numbers = sorted(int(match[1]) for match in map(_SAMPLE.fullmatch, row) if match)
    samples = [text_in(row[f"sample_{number}"], f"sample_{number}", where) for number in numbers]
    extra = _answers_by_name({key: row[key] for key in row if _OTHER_ANSWER.fullmatch(key)}, where)
    counts["rows_with_renumbered_samples"] += numbers != list(range(len(numbers)))
    return Found([_query_in(row, "query", where, counts)], samples, [], extra)


def _answers_by_name(answers: dict[str, Any], where: str) -> dict[str, str]:
    return {
        text_in(name, ascii(name), where): text_in(answer, name, where) for name, answer in answers.items()
    }


def _answered(prompt: str, completion: str) -> Parse:
    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        answer = text_in(row[completion], completion, where)
        return Found([_query_in(row, prompt, where, counts)], [answer], [], {})

    return parse


def _messages_in(key: str) -> Parse:
    def parse(row: Row, where: str, counts: Counter[str]) -> Found:
        query, response = _conversation(row, key, where)
        return Found([query], [response], [], {})

    return parse


def _always(parse: Parse) -> Callable[[Row], Parse]:
    return lambda first: parse


def _by_list(key: str, lists: Parse, texts: Parse) -> Callable[[Row], Parse]:
    return lambda first: lists if isinstance(first[key], list) else texts


def _by_separator(first: Row) -> Parse:
    texts = first["text"]
    return _joined if isinstance(texts, list) and SEPARATOR in str(texts[:1]) else _joined_whole


def _shape(
    kind: str, keys: str, parse_of: Callable[[Row], Parse], *, without: str = "", **more: Any
) -> Shape:
    return Shape(kind, keys, parse_of, frozenset(keys.split(", ")), frozenset(without.split()), **more)


COMPARISONS = [
    _shape("comparison", "query, responses, scores", _always(_own_comparison)),
    _shape("comparison", "text, scores", _by_separator, without="score"),
    _shape("comparison", "text, score", _by_separator, without="scores"),
    _shape("comparison", "prompt, chosen, rejected", _by_list("chosen", _message_pair, _prompt_pair)),
    _shape(
        "comparison", "chosen, rejected", _by_list("chosen", _message_pair, _whole_pair), without="prompt"
    ),
]
GOLDEN = [_shape("golden", "query, golden", _always(_golden))]
SAMPLES = [
    _shape("samples", "query, samples", _always(_own_samples), without="completion"),
    Shape(
        "samples",
        "query, sample_0, sample_1, ...",
        _always(_numbered_samples),
        keys=frozenset({"query"}),
        some_key=_SAMPLE,
    ),
]
DEMONSTRATIONS = [
    *COMPARISONS,
    *GOLDEN,
    *SAMPLES,
    _shape(
        "demonstration",
        "prompt, completion",
        _by_list("completion", _messages_in("completion"), _answered("prompt", "completion")),
    ),
    _shape("demonstration", "query, response", _always(_answered("query", "response"))),
    _shape("demonstration", "messages", _always(_messages_in("messages"))),
]
