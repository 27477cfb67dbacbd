"""The answers of two language models to the same queries, paired for the judge."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from apo.core.errors import UserError
from apo.core.records import Row, is_finite_number, read_numbered_rows
from apo.core.subset import subsample


class Comparison(NamedTuple):
    """The first answers of two language models to one query.

    Attributes:
        query: The query in the HH form.
        answers: The first sample of each model, which are compared.
        reward_difference: The testing RM's reward of the first answer minus that of the second.
        unused_samples: How many further samples of the query the two models have.
    """

    query_id: str
    query: str
    models: tuple[str, str]
    answers: tuple[str, str]
    reward_difference: float
    unused_samples: int


def read_answers(folder: Path) -> dict[str, dict[str, Row]]:
    """The answers by name of the language model (the file's name) and by query id.

    Raises:
        UserError: The folder has no answers, or a row is not `{query_id, query, samples, scores}`.
    """
    answers = {path.stem: _rows_by_id(path) for path in sorted(folder.glob("*.jsonl"))}
    if not answers:
        raise UserError(
            str(folder),
            found="no .jsonl file",
            expected="one file per language model, as stage evaluate writes them",
            do="run `dvc repro evaluate`",
        )
    return answers


def _rows_by_id(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, row in read_numbered_rows(path):
        is_repeated = isinstance(row.get("query_id"), str) and row["query_id"] in rows
        if is_repeated or not _is_answer_row(row):
            raise UserError(
                f"{path}:{number}",
                found="a repeated query_id" if is_repeated else f"{str(row)[:120]!r}",
                expected="one row per query: query_id, query, samples (texts) and scores (finite numbers)",
                do="run `dvc repro evaluate`, which writes the file again",
            )
        rows[row["query_id"]] = row
    return rows


def _is_answer_row(row: Row) -> bool:
    samples, rewards = row.get("samples"), row.get("scores")
    if not (isinstance(samples, list) and samples and isinstance(rewards, list) and rewards):
        return False
    texts = (row.get("query_id"), row.get("query"), samples[0])
    return is_finite_number(rewards[0]) and all(isinstance(text, str) for text in texts)


def select_pairs(
    models: Sequence[str], requested: Sequence[Sequence[str]], *, source: str
) -> list[tuple[str, str]]:
    """The pairs of models to compare: the requested ones, or all pairs if none is requested.

    >>> select_pairs(["a", "b", "c"], [], source="judge.pairs")
    [('a', 'b'), ('a', 'c'), ('b', 'c')]

    Args:
        models: The models that have answers.
        source: The parameter that holds the pairs, for error messages.

    Raises:
        UserError: A model has no answers, is paired with itself, or a pair is repeated.
    """
    if not requested:
        return list(itertools.combinations(models, 2))
    pairs = [(first, second) for first, second in requested]
    for index, pair in enumerate(pairs):
        is_repeated = any(set(pair) == set(earlier) for earlier in pairs[:index])
        if is_repeated or pair[0] == pair[1] or not set(pair) <= set(models):
            raise UserError(
                source,
                found=f"{list(pair)}{', which is repeated' if is_repeated else ''}",
                expected=f"two of {', '.join(models)}, each pair once, or an empty list for all pairs",
                do="correct the names",
            )
    return pairs


def build_comparisons(
    answers: Mapping[str, Mapping[str, Row]],
    pairs: Iterable[tuple[str, str]],
    *,
    max_queries: int,
    seed: int,
    source: str,
) -> Iterator[Comparison]:
    """Joins the first answers of each pair of models by query.

    Args:
        answers: From `read_answers`.
        pairs: From `select_pairs`.
        max_queries: How many queries per pair are compared; 0 for all.
        seed: Of the subset of the queries.
        source: The folder of the answers, for error messages.

    Raises:
        UserError: Two models answer different queries.
    """
    for models in pairs:
        first, second = (answers[model] for model in models)
        unshared = [
            query_id
            for query_id in first.keys() | second.keys()
            if query_id not in first
            or query_id not in second
            or first[query_id]["query"] != second[query_id]["query"]
        ]
        if unshared:
            raise UserError(
                source,
                found=f"{len(unshared)} queries such as {min(unshared)!r} that {models[0]} and {models[1]} "
                "do not share",
                expected="answers to the same queries",
                do="run `dvc repro evaluate`",
            )
        for first_row in subsample(first.values(), max_queries=max_queries, seed=seed):
            second_row = second[first_row["query_id"]]
            yield Comparison(
                query_id=first_row["query_id"],
                query=first_row["query"],
                models=models,
                answers=(first_row["samples"][0], second_row["samples"][0]),
                reward_difference=first_row["scores"][0] - second_row["scores"][0],
                unused_samples=len(first_row["samples"]) + len(second_row["samples"]) - 2,
            )
