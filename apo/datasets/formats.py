"""Rows of this project and of the authors: comparisons, golden answers, samples."""

import re
from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.columns import REWARDS
from apo.datasets.fields import (
    bad_value,
    filled,
    is_list_of_texts,
    number_in,
    query_in,
    scores_in,
    text_in,
    texts_in,
    whole_dialogue,
)
from apo.datasets.messages import answered, messages_in
from apo.datasets.parsed import Names, Parse, ParsedRow
from apo.datasets.public_formats import graded_answer

SEPARATOR = "<sep>"  # of the authors, between query and response
# Columns that their scorer reads: samples, and answers of others.
SAMPLE = re.compile(r"sample_(\d{1,9})")
OTHER_ANSWER = re.compile(r"hh_best|.*gpt4.*|.*ans_.*")
_RANKS = ("ranks", "sample_ranks")  # of samples, 1 the best


def parse_comparison(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """{query, responses, scores}, as this pipeline writes it."""
    responses = texts_in(row, "responses", where)
    scores = scores_in(row, "scores", len(responses), where)
    return ParsedRow([_query_of(row, where, counts)], responses, scores, {})


def _query_of(row: Row, where: str, counts: Counter[str]) -> str:
    """The query of a row: a text, or messages."""
    query = row["query"]
    if not isinstance(query, list | dict):
        return query_in(query, "query", where, counts)
    return answered([*messages_in(query, "query", where), {"role": "assistant", "content": ""}], where)[0]


def choose_text_parser(first: Row, names: Names) -> Parse:
    """{text, scores} of the authors: texts query<sep>response, or whole dialogues."""
    is_joined = is_list_of_texts(first["text"]) and SEPARATOR in first["text"][0]
    return _parse_joined_texts if is_joined else _parse_dialogues


def _parse_joined_texts(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    pairs = []
    for text in texts_in(row, "text", where):
        count = text.count(SEPARATOR)
        if count != 1:
            raise bad_value(
                "separator", where, "text", f"{count} times {SEPARATOR}", f"query{SEPARATOR}response"
            )
        query, _, response = text.partition(SEPARATOR)
        pairs.append((query, response))
    distinct = dict.fromkeys(query for query, _ in pairs)
    queries = {query: query_in(query, "text", where, counts) for query in distinct}
    return _with_scores([(queries[query], response) for query, response in pairs], row, where)


def _parse_dialogues(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    texts = texts_in(row, "text", where)
    if any(SEPARATOR in text for text in texts):
        raise bad_value(
            "separator", where, "text", SEPARATOR, "whole dialogues without it, as in the first row"
        )
    return _with_scores([whole_dialogue(text, where) for text in texts], row, where)


def _with_scores(pairs: list[tuple[str, str]], row: Row, where: str) -> ParsedRow:
    key = "scores" if "scores" in row else "score"
    return ParsedRow.from_pairs(pairs, scores_in(row, key, len(pairs), where))


# Golden answers, samples ---------------------------------------------------------------------------


def parse_golden(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """{query, golden}."""
    if row["golden"] is None:
        raise bad_value("missing_golden", where, "golden", "null", "a golden answer")
    answer = text_in(row["golden"], "golden", where)
    return ParsedRow([_query_of(row, where, counts)], [answer], [], {})


def parse_samples(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """{query, samples}, texts or {text, score}, with `extra` answers by name and rewards if there are any."""
    extra = row.get("extra", {})
    if not isinstance(extra, dict):
        raise bad_value("not_text", where, "extra", type(extra).__name__, "an object of answers by name")
    extra = _answers_by_name(extra, where)
    if isinstance(row["samples"], list) and any(isinstance(entry, dict) for entry in row["samples"]):
        graded = [graded_answer(entry, "samples", where) for entry in row["samples"]]
        samples, rewards = [text for text, _ in graded], [score for _, score in graded]
        return ParsedRow([_query_of(row, where, counts)], samples, rewards, extra)
    samples = texts_in(row, "samples", where)
    key = next((key for key in REWARDS if filled(row.get(key))), "")
    rewards = scores_in(row, key, len(samples), where) if key else []
    rewards = [-rank for rank in rewards] if key in _RANKS else rewards
    return ParsedRow([_query_of(row, where, counts)], samples, rewards, extra)


def parse_numbered_samples(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """{query, sample_0, sample_1, ...} of the authors, with rewards by name if the row has them."""
    key_by_number = {int(match[1]): key for key in row if (match := SAMPLE.fullmatch(key))}
    if len(key_by_number) < sum(1 for key in row if SAMPLE.fullmatch(key)):
        raise bad_value(
            "other_keys", where, "sample_...", "one number written in two ways", "each number once"
        )
    keys = [key_by_number[number] for number in sorted(key_by_number)]
    samples = [text_in(row[key], key, where) for key in keys]
    extra = _answers_by_name({key: row[key] for key in row if OTHER_ANSWER.fullmatch(key)}, where)
    counts["rows_with_renumbered_samples"] += sorted(key_by_number) != list(range(len(key_by_number)))
    rewards = _rewards_by_name(row, keys, where)
    return ParsedRow([_query_of(row, where, counts)], samples, rewards, extra)


def _rewards_by_name(row: Row, names: list[str], where: str) -> list[float]:
    """The rewards of samples by their names, as the authors' rejection sampling writes them."""
    scores = row.get("scores") or _numbered_rewards(row, names)
    if not isinstance(scores, dict) or not scores:
        return []
    if missing := [name for name in names if name not in scores]:
        raise bad_value(
            "score_count", where, "scores", f"no score of {missing[0]}", "one score for each sample"
        )
    return [number_in(scores[name], "scores", where) for name in names]


def _numbered_rewards(row: Row, names: list[str]) -> dict[str, Any]:
    """The scores of samples in columns with the same numbers: `score_0` of `sample_0`."""
    for form in ("score_{}", "reward_{}", "rating_{}", "sample_{}_score", "sample_{}_reward"):
        keys = {name: form.format(name.rpartition("_")[2]) for name in names}
        if any(filled(row.get(key)) for key in keys.values()):
            return {name: row[key] for name, key in keys.items() if filled(row.get(key))}
    return {}


def _answers_by_name(answers: dict[str, Any], where: str) -> dict[str, str]:
    return {
        text_in(name, ascii(name[:40]), where): text_in(answer, name[:40], where)
        for name, answer in answers.items()
    }
