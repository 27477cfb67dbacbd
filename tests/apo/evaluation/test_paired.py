"""apo/evaluation/paired.py: the difference of two accuracies and its interval over queries, by hand."""

import numpy as np
import pytest

from apo.core.records import Row
from apo.evaluation.paired import accuracy_difference, right_by_query
from apo.metrics.pairs import pair_metrics, pairs_of


def of_query(name: str, right: float, pairs: int = 1) -> Row:
    return {"query_id": name, "pairs": pairs, "right": right}


def difference(first: list[Row], second: list[Row]) -> dict[str, float]:
    return accuracy_difference(first, second, seed=1, resamples=1000)


def test_right_by_query_joins_the_comparisons_of_a_query() -> None:
    rows = [
        {"query_id": "a", "scores": [1.0, 0.0]},
        {"query_id": "b", "scores": [2.0, 1.0, 1.0]},
        {"query_id": "none", "scores": [1.0, 1.0]},
        {"query_id": "a", "scores": [0.0, 1.0]},
    ]
    rewards = [[0.3, 0.1], [0.5, 0.5, 0.9], [1.0, 2.0], [0.3, 0.1]]
    found = right_by_query(rows, rewards)
    assert found == [of_query("a", 1.0, 2), of_query("b", 0.5, 2)]
    accuracy = pair_metrics(*pairs_of(rewards, [row["scores"] for row in rows]))["accuracy"]
    assert sum(row["right"] for row in found) / sum(row["pairs"] for row in found) == accuracy


def test_difference_weighs_each_pair_alike() -> None:
    first = [of_query("a", 3.0, 3), of_query("b", 0.0)]
    second = [of_query("b", 1.0), of_query("a", 1.0, 3)]  # in another order
    found = difference(first, second)
    assert found["pairs"] == 4
    assert found["difference"] == (3 + 0 - 1 - 1) / 4
    assert found["low"] == -1.0 and found["high"] == pytest.approx(2 / 3)  # both times the same query


def test_interval_is_one_of_queries_and_not_of_pairs() -> None:
    """With the pairs of a query alike, it is as wide as with one pair of each."""
    answers = np.random.default_rng(0).random((2, 60)) > 0.4
    of_one, of_ten = (
        difference(
            *(
                [of_query(str(query), pairs * float(right), pairs) for query, right in enumerate(model)]
                for model in answers
            )
        )
        for pairs in (1, 10)
    )
    assert of_one["high"] - of_one["low"] > 0.1
    assert of_ten == pytest.approx({**of_one, "pairs": 600})


def test_only_pairs_that_both_were_asked_about_count() -> None:
    first = [of_query("a", 1.0), of_query("b", 1.0), of_query("only here", 1.0), of_query("c", 2.0, 2)]
    second = [of_query("a", 0.0), of_query("b", 1.0), of_query("only there", 0.0), of_query("c", 0.0)]
    found = difference(first, second)
    assert found["pairs"] == 2 and found["difference"] == 0.5
    assert found["queries_left_out"] == 3


def test_one_query_has_no_interval_and_none_no_difference() -> None:
    assert difference([of_query("a", 1.0)], [of_query("a", 0.0)]) == {"pairs": 1, "difference": 1.0}
    assert difference([of_query("a", 1.0)], [of_query("b", 0.0)]) == {"queries_left_out": 2}
    assert difference([], []) == {}
