"""apo/metrics/histograms.py and rounds.py: bins by hand, counts that add up."""

import math
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.evaluation.round_curves import round_rows
from apo.metrics.histograms import answer_curves, histogram_rows, margin_rows, round_width, truth_rows
from apo.metrics.pairs import pair_metrics
from apo.metrics.statistics import paired_bootstrap, wilson_interval

REWARDS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("span", "at_most", "width"),
    [(7.3, 40, 0.2), (8.0, 40, 0.2), (8.1, 40, 0.5), (40.0, 40, 1.0), (0.04, 40, 0.001), (0.0, 40, 1.0)],
)
def test_a_round_width(span: float, at_most: int, width: float) -> None:
    assert round_width(span, at_most=at_most) == width


def test_a_histogram_by_hand() -> None:
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
        own = [row for row in rows if row["kind"] == kind]
        assert [own[0]["lower"], own[-1]["upper"]] == [-1.1, 3.2]  # an empty bin at each end
        assert len(own) == 43
        assert own[0]["count"] == own[-1]["count"] == 0
        assert all(first["upper"] == second["lower"] for first, second in pairwise(own))


@settings(max_examples=40)
@given(REWARDS, REWARDS)
def test_a_histogram_holds_every_reward_once(chosen: list[float], rejected: list[float]) -> None:
    rows = histogram_rows({"chosen": chosen, "rejected": rejected})
    assert len(rows) <= 2 * 43  # HISTOGRAM_BINS, one that the grid may add, the two at the ends
    for kind, rewards in (("chosen", chosen), ("rejected", rejected)):
        own = [row for row in rows if row["kind"] == kind]
        assert sum(row["count"] for row in own) == len(rewards)
        assert math.isclose(sum(row["share"] for row in own), 1.0)
        for row in own:  # the edges of a bin are rounded to ten digits, its members are not
            near = 1e-9 * max(1.0, abs(row["lower"]))
            inside = sum(row["lower"] + near < reward < row["upper"] - near for reward in rewards)
            around = sum(row["lower"] - near <= reward <= row["upper"] + near for reward in rewards)
            assert inside <= row["count"] <= around


def test_accuracy_by_margin_by_hand() -> None:
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
def test_the_margin_bins_add_up_to_the_accuracy(pairs: list[tuple[float, float]]) -> None:
    chosen, rejected = [a for a, _ in pairs], [b for _, b in pairs]
    rows, whole = margin_rows(chosen, rejected), pair_metrics(chosen, rejected)
    assert sum(row["pairs"] for row in rows) == whole["pairs"]
    right = sum(row["pairs"] * row["accuracy"] for row in rows)
    assert right / whole["pairs"] == pytest.approx(whole["accuracy"])
    assert all(
        0.5 <= row["probability"] <= 1 and row["low"] <= row["accuracy"] <= row["high"] for row in rows
    )


def test_true_reward_by_reward_by_hand() -> None:
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


def test_one_reward_for_all() -> None:
    assert [row["count"] for row in histogram_rows({"golden": [2.5, 2.5]})] == [0, 2, 0]
    assert [row["pairs"] for row in margin_rows([1.0, 1.0], [1.0, 1.0])] == [2]
    assert truth_rows([0.0, 0.0], [1.0, 1.0])[0]["low"] == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rewards_that_are_no_numbers(bad: float) -> None:
    for table in (lambda: histogram_rows({"chosen": [bad]}), lambda: margin_rows([bad], [0.0])):
        with pytest.raises(UserError, match="NaN or infinite"):
            table()


def answers(rewards: list[float], true: list[float] | None = None) -> list[dict[str, Any]]:
    rows = [{"query_id": f"q{i}", "rewards": [reward]} for i, reward in enumerate(rewards)]
    return [row | ({"true_rewards": [true[i]]} if true else {}) for i, row in enumerate(rows)]


def test_the_golden_answers_are_in_the_histogram_and_not_in_the_truth() -> None:
    arms = {"actor": answers([0.0, 1.0], [5.0, 6.0]), "golden": answers([9.0], [7.0])}
    found = answer_curves(arms, "rewards")
    assert {row["kind"]: row["reward"] for row in found["golden_samples"] if row["count"]} == {
        "actor": 1.25,  # bins of 0.5: 0.25 and 1.25
        "golden": 9.25,
    }
    assert [(row["reward"], row["true_reward"]) for row in found["truth"]] == [(0.0, 5.0), (1.0, 6.0)]


def test_without_a_truth_there_is_none() -> None:
    assert answer_curves({"actor": answers([0.0, 1.0])}, "rewards")["truth"] == []


def scored(scores: list[float], true: list[float] | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"scores": [score]} for score in scores]
    return [row | ({"true_rewards": [true[i]]} if true else {}) for i, row in enumerate(rows)]


def test_rounds_by_hand() -> None:
    """The actor begins both arms; the golden answers stand in every round; intervals are the bootstrap's."""
    arms = {
        "actor": scored([0.0, 2.0], [1.0, 1.0]),
        "golden": scored([4.0, 4.0], [3.0, 3.0]),
        "llm_apo_r1": scored([2.0, 4.0], [2.0, 3.0]),
        "llm_base_r1": scored([1.0, 1.0], [0.0, 1.0]),
    }
    rows = round_rows(arms, seed=3, resamples=200)
    assert [(row["round"], row["arm"], row["llm"], row["score"], row["true_reward"]) for row in rows] == [
        ("r0", "base", "actor", 1.0, 1.0),
        ("r0", "apo", "actor", 1.0, 1.0),
        ("r0", "golden", "golden", 4.0, 3.0),
        ("r1", "base", "llm_base_r1", 1.0, 0.5),
        ("r1", "apo", "llm_apo_r1", 3.0, 2.5),
        ("r1", "golden", "golden", 4.0, 3.0),
    ]
    assert (rows[4]["score_low"], rows[4]["score_high"]) == paired_bootstrap(
        [2.0, 4.0], [0.0, 0.0], seed=3, resamples=200
    )
    assert (rows[2]["true_low"], rows[2]["true_high"]) == (3.0, 3.0)


def test_rounds_without_a_truth() -> None:
    (row, *_) = round_rows({"actor": scored([0.0, 1.0])}, seed=1, resamples=100)
    assert row.keys() == {"round", "arm", "llm", "score", "score_low", "score_high"}


def test_numbers_of_numpy_stay_out_of_the_tables() -> None:
    """`json` and the csv of pandas write them as Python's."""
    rng = np.random.default_rng(1)
    tables = [histogram_rows({"a": rng.normal(size=9)}), margin_rows(rng.normal(size=9), rng.normal(size=9))]
    values = [value for table in tables for row in table for value in row.values()]
    assert {type(value) for value in values} == {str, int, float}
