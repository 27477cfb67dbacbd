"""apo/metrics/histograms.py: bins by hand, counts that add up."""

import math
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.metrics.histograms import answer_curves, histogram_rows, margin_rows, round_width, truth_rows
from apo.metrics.pairs import pair_metrics
from apo.metrics.statistics import wilson_interval

REWARDS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("span", "at_most", "width"),
    [(7.3, 40, 0.2), (8.0, 40, 0.2), (8.1, 40, 0.5), (40.0, 40, 1.0), (0.04, 40, 0.001), (0.0, 40, 1.0)],
)
def test_round_width_by_hand(span: float, at_most: int, width: float) -> None:
    assert round_width(span, at_most=at_most) == width


def test_histogram_rows_by_hand() -> None:
    """A span of 4 takes bins of 0.1; -1.0 begins a bin, 3.0 too."""
    rows = histogram_rows({"chosen": [3.0, 0.05, 0.0, 0.09], "rejected": [-1.0]})
    filled = [
        (row["kind"], row["lower"], row["upper"], row["reward"], row["count"]) for row in rows if row["count"]
    ]
    assert filled == [
        ("chosen", 0.0, 0.1, 0.05, 3),
        ("chosen", 3.0, 3.1, 3.05, 1),
        ("rejected", -1.0, -0.9, -0.95, 1),
    ]
    assert [row["share"] for row in rows if row["count"]] == [0.75, 0.25, 1.0]
    for kind in ("chosen", "rejected"):
        bins = [row for row in rows if row["kind"] == kind]
        assert [bins[0]["lower"], bins[-1]["upper"]] == [-1.1, 3.2]  # an empty bin at each end
        assert len(bins) == 43
        assert bins[0]["count"] == bins[-1]["count"] == 0
        assert all(first["upper"] == second["lower"] for first, second in pairwise(bins))


@settings(max_examples=40)
@given(REWARDS, REWARDS)
def test_histogram_rows_hold_every_reward_once(chosen: list[float], rejected: list[float]) -> None:
    rows = histogram_rows({"chosen": chosen, "rejected": rejected})
    assert len(rows) <= 2 * 43  # HISTOGRAM_BINS, one that the grid may add, the two at the ends
    for kind, rewards in (("chosen", chosen), ("rejected", rejected)):
        bins = [row for row in rows if row["kind"] == kind]
        assert sum(row["count"] for row in bins) == len(rewards)
        assert math.isclose(sum(row["share"] for row in bins), 1.0)
        for row in bins:  # the edges of a bin are rounded to ten digits, its members are not
            near = 1e-9 * max(1.0, abs(row["lower"]))
            inside = sum(row["lower"] + near < reward < row["upper"] - near for reward in rewards)
            around = sum(row["lower"] - near <= reward <= row["upper"] + near for reward in rewards)
            assert inside <= row["count"] <= around


def test_margin_rows_by_hand() -> None:
    """Margins 0, 0.03, -0.04, 1.55 and -1.6 in bins of 0.1; on an edge: the bin above."""
    rows = margin_rows([0.0, 0.03, 0.0, 2.0, 0.0], [0.0, 0.0, 0.04, 0.45, 1.6])
    assert [(row["lower"], row["upper"], row["pairs"], row["accuracy"]) for row in rows] == [
        (0.0, 0.1, 3, pytest.approx((0.5 + 1 + 0) / 3)),
        (1.5, 1.6, 1, 1.0),
        (1.6, 1.7, 1, 0.0),
    ]
    assert rows[0]["margin"] == pytest.approx(0.07 / 3)
    assert rows[0]["probability"] == pytest.approx(fmean(1 / (1 + math.exp(-m)) for m in (0, 0.03, 0.04)))
    assert (rows[0]["low"], rows[0]["high"]) == wilson_interval(1.5, 3)
    assert rows[2]["probability"] == pytest.approx(1 / (1 + math.exp(-1.6)))  # sure, and wrong


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=40))
def test_margin_rows_add_up_to_the_accuracy(pairs: list[tuple[float, float]]) -> None:
    chosen, rejected = [a for a, _ in pairs], [b for _, b in pairs]
    rows, whole = margin_rows(chosen, rejected), pair_metrics(chosen, rejected)
    assert sum(row["pairs"] for row in rows) == whole["pairs"]
    right = sum(row["pairs"] * row["accuracy"] for row in rows)
    assert right / whole["pairs"] == pytest.approx(whole["accuracy"])
    assert all(
        0.5 <= row["probability"] <= 1 and row["low"] <= row["accuracy"] <= row["high"] for row in rows
    )


def test_truth_rows_by_hand() -> None:
    """A span of 16 takes bins of 1: [-8, -7) has two answers, [8, 9) one, which has no interval."""
    rows = truth_rows([-8.0, -7.5, 8.0], [1.0, 3.0, -2.0])
    assert [(row["lower"], row["upper"], row["count"], row["true_reward"]) for row in rows] == [
        (-8.0, -7.0, 2, 2.0),
        (8.0, 9.0, 1, -2.0),
    ]
    assert rows[0]["reward"] == -7.75
    # sd = sqrt(2), over sqrt(2) answers: 1.96 * 1
    assert (rows[0]["low"], rows[0]["high"]) == (pytest.approx(2 - 1.959964), pytest.approx(2 + 1.959964))
    assert rows[1].keys() == {"lower", "upper", "reward", "true_reward", "count"}


def test_histogram_rows_of_one_reward_for_all() -> None:
    assert [row["count"] for row in histogram_rows({"golden": [2.5, 2.5]})] == [0, 2, 0]
    assert [row["pairs"] for row in margin_rows([1.0, 1.0], [1.0, 1.0])] == [2]
    assert truth_rows([0.0, 0.0], [1.0, 1.0])[0]["low"] == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_histogram_rows_refuse_nan_and_infinity(bad: float) -> None:
    for table in (lambda: histogram_rows({"chosen": [bad]}), lambda: margin_rows([bad], [0.0])):
        with pytest.raises(UserError, match="NaN or infinite"):
            table()


def answers(
    rewards: list[float], truth: list[float] | None = None, texts: str = "abc"
) -> list[dict[str, Any]]:
    """Rows of one answer each, to queries 0, 1, ..."""
    rows = zip(rewards, truth or [None] * len(rewards), texts, strict=False)
    return [
        {"query": str(index), "samples": [text], "rewards": [reward]}
        | ({} if true is None else {"true_rewards": [true]})
        for index, (reward, true, text) in enumerate(rows)
    ]


def test_answer_curves_have_golden_answers_in_the_histogram_alone() -> None:
    arms = {"actor": answers([0.0, 1.0], [5.0, 6.0]), "golden": answers([9.0], [7.0])}
    curves = answer_curves(arms, "rewards")
    assert {row["kind"]: row["reward"] for row in curves["golden_samples"] if row["count"]} == {
        "actor": 1.25,  # bins of 0.5: 0.25 and 1.25
        "golden": 9.25,
    }
    assert [(row["reward"], row["true_reward"]) for row in curves["truth"]] == [(0.0, 5.0), (1.0, 6.0)]


def test_answer_curves_count_an_answer_of_several_models_once() -> None:
    arms = {"actor": answers([0.0, 1.0], [5.0, 6.0]), "llm": answers([0.0, 3.0], [5.0, 7.0], texts="ax")}
    curves = answer_curves(arms, "rewards")
    assert sum(row["count"] for row in curves["truth"]) == 3  # actor and llm give "a" to the first query
    assert sum(row["count"] for row in curves["golden_samples"]) == 4


def test_answer_curves_without_a_truth_have_none() -> None:
    assert answer_curves({"actor": answers([0.0, 1.0])}, "rewards")["truth"] == []


def test_histogram_rows_hold_plain_python_numbers() -> None:
    """`json` and the csv of pandas write them as Python's."""
    rng = np.random.default_rng(1)
    tables = [histogram_rows({"a": rng.normal(size=9)}), margin_rows(rng.normal(size=9), rng.normal(size=9))]
    values = [value for table in tables for row in table for value in row.values()]
    assert {type(value) for value in values} == {str, int, float}
