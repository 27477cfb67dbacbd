"""Answers of language models to the same queries, two by two."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.errors import UserError
from apo.core.records import Row, read_numbered_rows
from apo.text.subset import draw


class Comparison(NamedTuple):
    """Two language models' answers to one query, by how much the testing RM prefers the first, and how many
    samples the two have beside these, which are not compared."""

    query_id: str
    query: str
    names: tuple[str, str]
    answers: tuple[str, str]
    score_difference: float
    further_samples: int


def read_answers(folder: Path) -> dict[str, dict[str, Row]]:
    """The answers of every language model by its name, the file's, and by query id.

    Raises:
        UserError: There are none, or a row is not `{query_id, query, samples, scores}`.
    """
    found = {path.stem: _by_id(path) for path in sorted(folder.glob("*.jsonl"))}
    if not found:
        raise UserError(
            str(folder),
            found="no .jsonl file",
            expected="one a language model, as stage evaluate writes them",
            do="run `dvc repro evaluate`",
        )
    return found


def _by_id(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, row in read_numbered_rows(path):
        texts = [row.get("query_id"), row.get("query"), *_first(row, "samples")]
        scores = _first(row, "scores")
        numbers = all(
            isinstance(s, int | float) and not isinstance(s, bool) and math.isfinite(s) for s in scores
        )
        known = isinstance(row.get("query_id"), str) and row["query_id"] in rows
        if len(texts) < 3 or not all(isinstance(t, str) for t in texts) or not (scores and numbers) or known:
            raise UserError(
                f"{path}:{number}",
                found="a query for a second time" if known else f"{str(row)[:120]!r}",
                expected="one row a query: query_id, query, samples (texts) and scores (finite numbers)",
                do="run `dvc repro evaluate`, which writes the file again",
            )
        rows[row["query_id"]] = row
    return rows


def _first(row: Row, key: str) -> list[Any]:
    """The first of a list, as a list; empty where there is none."""
    values = row.get(key)
    return values[:1] if isinstance(values, list) else []


def pairs_of(names: Sequence[str], wanted: Sequence[Sequence[str]], *, where: str) -> list[tuple[str, str]]:
    """The pairs that are compared: those that are wanted, or all where none is named.

    >>> pairs_of(["a", "b", "c"], [], where="judge.pairs")
    [('a', 'b'), ('a', 'c'), ('b', 'c')]

    Raises:
        UserError: A name has no answers, a pair is one model with itself or comes twice.
    """
    if not wanted:
        return list(itertools.combinations(names, 2))
    pairs = [(first, second) for first, second in wanted]
    for index, pair in enumerate(pairs):
        again = any(set(pair) == set(other) for other in pairs[:index])
        if again or pair[0] == pair[1] or not set(pair) <= set(names):
            raise UserError(
                where,
                found=f"{list(pair)}{' for a second time' if again else ''}",
                expected=f"two of {', '.join(names)}, each pair once, or no pair for all",
                do="correct the names",
            )
    return pairs


def comparisons(
    answers: Mapping[str, Mapping[str, Row]],
    pairs: Iterable[tuple[str, str]],
    *,
    max_queries: int,
    seed: int,
    where: str,
) -> Iterator[Comparison]:
    """The first answers of each pair to the queries that both have to share, at most so many by the seed.

    Raises:
        UserError: The two were not asked the same queries.
    """
    for names in pairs:
        first, second = (answers[name] for name in names)
        odd = [q for q in first.keys() | second.keys() if first.get(q, {}).get("query") != _query(second, q)]
        if odd:
            raise UserError(
                where,
                found=f"{len(odd)} queries such as {min(odd)!r} that {names[0]} and {names[1]} do not share",
                expected="answers to the same queries",
                do="run `dvc repro evaluate`",
            )
        for row in draw(first.values(), at_most=max_queries, seed=seed):
            other = second[row["query_id"]]
            yield Comparison(
                row["query_id"],
                row["query"],
                names,
                (row["samples"][0], other["samples"][0]),
                row["scores"][0] - other["scores"][0],
                len(row["samples"]) + len(other["samples"]) - 2,
            )


def _query(rows: Mapping[str, Row], query_id: str) -> Any:
    return rows[query_id]["query"] if query_id in rows else None
