"""Two models on the same queries: the accuracy of reward models, the rewards of answers."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from apo.core.records import Row
from apo.metrics.pairs import pairs_of
from apo.metrics.statistics import bootstrap_of_sums

RIGHT = "right.jsonl"
"""The rows of `right_by_query`, in the folder of an evaluation."""


def right_by_query(rows: Sequence[Row], rewards: Sequence[Sequence[float]]) -> list[Row]:
    """The pairs of each query, and how many of them a reward model has in the right order.

    Args:
        rows: Comparisons `{query_id, scores}`; a query may have several.
        rewards: The rewards of their responses.

    Returns:
        Rows `{query_id, pairs, right}`, in which a tie of rewards counts half. A query without a pair has
        none.
    """
    by_query: dict[str, Row] = {}
    for row, row_rewards in zip(rows, rewards, strict=True):
        chosen, rejected = pairs_of([row_rewards], [row["scores"]])
        if chosen.size:
            query_id = row["query_id"]
            query = by_query.setdefault(query_id, {"query_id": query_id, "pairs": 0, "right": 0.0})
            query["pairs"] += int(chosen.size)
            query["right"] += float((chosen > rejected).sum() + (chosen == rejected).sum() / 2)
    return list(by_query.values())


def accuracy_difference(
    first: Sequence[Row], second: Sequence[Row], *, seed: int, resamples: int
) -> dict[str, float]:
    """The accuracy of one reward model minus that of another, on the pairs that both were asked about.

    Args:
        first, second: See `right_by_query`.
        seed, resamples: Of the bootstrap over queries.

    Returns:
        `pairs`, their number; `difference`; its paired bootstrap 95 % interval over queries, `low` to `high`,
        absent for a single query; `queries_left_out`, if there are any, of which only one model rated pairs,
        or another number of them. Without pairs, nothing of the difference.
    """
    others = {row["query_id"]: row for row in second}
    shared = [
        (row, other)
        for row in first
        if (other := others.get(row["query_id"])) and other["pairs"] == row["pairs"]
    ]
    left_out = len({row["query_id"] for row in first} | others.keys()) - len(shared)
    result: dict[str, float] = {"queries_left_out": left_out} if left_out else {}
    if not shared:
        return result
    sums = np.array([[row["right"] - other["right"], row["pairs"]] for row, other in shared])
    gain, pairs = sums.sum(axis=0)
    result |= {"pairs": int(pairs), "difference": float(gain / pairs)}
    if len(shared) > 1:
        low, high = bootstrap_of_sums(
            sums, lambda total: total[:, 0] / total[:, 1], seed=seed, resamples=resamples
        )
        result |= {"low": low, "high": high}
    return result


def paired_means(rows: Sequence[Row], other_rows: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """The mean reward of each query, in the answers of a model and of another to the same queries.

    Equal answers differ by nothing: in bfloat16 the rewards of one text may, from batch to batch.
    """
    others = [fmean(row[key]) for row in other_rows]
    means = [
        of_other if row["samples"] == other["samples"] else fmean(row[key])
        for row, other, of_other in zip(rows, other_rows, others, strict=True)
    ]
    return means, others
