"""apo/metrics/pairs.py: values by hand, ties, the authors' numbers, refusals."""

import doctest
import json
import math

import pytest
from scipy import stats

from apo.core.errors import UserError
from apo.metrics import pairs
from apo.metrics.pairs import item_metrics, pair_metrics, pairs_of


def test_the_docstring_examples() -> None:
    assert doctest.testmod(pairs) == (0, 2)


def test_pair_metrics_by_hand() -> None:
    # Margins ln 3, -ln 3, 0: p = 3/4, 1/4, 1/2.
    got = pair_metrics([math.log(3), 0.0, 2.0], [0.0, math.log(3), 2.0])
    assert got["pairs"] == 3 and got["reward_ties"] == 1
    assert got["accuracy"] == 0.5
    assert got["nll"] == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(2)) / 3)
    assert got["brier"] == pytest.approx((1 / 16 + 9 / 16 + 4 / 16) / 3)
    assert got["margin_mean"] == pytest.approx(0.0)


def test_pair_metrics_have_the_wilson_interval_without_ties() -> None:
    got = pair_metrics([1.0] * 7 + [0.0] * 3, [0.5] * 10)
    interval = stats.binomtest(7, 10).proportion_ci(0.95, method="wilson")
    assert (got["accuracy_low"], got["accuracy_high"]) == pytest.approx((interval.low, interval.high))


def test_interval_of_pairs_of_one_query_is_that_of_fewer_pairs() -> None:
    rewards = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]] * 20
    alone = item_metrics(rewards, [[1.0, 0.0]] * 60)
    interval = stats.binomtest(40, 60).proportion_ci(0.95, method="wilson")
    bounds = [alone["accuracy_low"], alone["accuracy_high"]]
    assert bounds == pytest.approx([interval.low, interval.high])
    queries = [number for query in range(60) for number in [query] * 3]
    three_times = item_metrics(
        [reward for reward in rewards for _ in range(3)], [[1.0, 0.0]] * 180, queries=queries
    )
    assert (three_times["pairs"], three_times["accuracy"]) == (180, alone["accuracy"])
    # The variance between 60 queries has 59 degrees of freedom.
    wide = three_times["accuracy_high"] - three_times["accuracy_low"]
    assert wide == pytest.approx(interval.high - interval.low, rel=0.01)


def test_pairs_of_an_item_are_of_one_query() -> None:
    right, wrong = [3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]
    got = item_metrics([right, right, wrong], [right] * 3)
    assert (got["pairs"], got["accuracy"]) == (18, 12 / 18)
    of_pairs = stats.binomtest(12, 18).proportion_ci(0.95, method="wilson")
    assert got["accuracy_low"] < of_pairs.low - 0.1


def test_pair_metrics_mirror_when_sides_are_swapped() -> None:
    chosen, rejected = [0.3, 1.5, -2.0, 0.0], [0.1, 2.5, -2.0, -4.0]
    one, two = pair_metrics(chosen, rejected), pair_metrics(rejected, chosen)
    assert one["accuracy"] == 0.625 and two["accuracy"] == 0.375  # two right, one wrong, one tie
    assert one["accuracy_low"] == pytest.approx(1 - two["accuracy_high"])
    assert one["margin_mean"] == -two["margin_mean"]
    assert one["nll"] + one["margin_mean"] == pytest.approx(two["nll"])  # -log s(-m) = m - log s(m)


def test_pair_metrics_ignore_a_constant() -> None:
    chosen, rejected = [0.5, 1.5, -2.0], [0.25, 2.5, -2.0]
    shifted = pair_metrics([r + 64 for r in chosen], [r + 64 for r in rejected])
    assert shifted == pair_metrics(chosen, rejected)


def test_pairs_of_items_of_different_length_by_hand() -> None:
    rewards, scores = [[1.0, 2.0], [3.0, 4.0, 5.0], [6.0]], [[0.0, 1.0], [2.0, 1.0, 1.0], [0.0]]
    chosen, rejected = pairs_of(rewards, scores)
    assert list(zip(chosen, rejected, strict=True)) == [(2.0, 1.0), (3.0, 4.0), (3.0, 5.0)]


def test_item_metrics_count_every_response_once() -> None:
    got = item_metrics([[1.0, 2.0], [3.0, 4.0, 5.0], [9.0]], [[0.0, 1.0], [2.0, 1.0, 1.0], [0.0]])
    assert (got["items"], got["responses"], got["pairs"]) == (3, 6, 3)
    assert got["reward_mean"] == 4.0
    assert got["accuracy"] == pytest.approx(1 / 3)


def test_pair_metrics_do_not_overflow_at_far_margins() -> None:
    got = pair_metrics([-2000.0], [2000.0])
    assert (got["nll"], got["brier"], got["accuracy"]) == (4000.0, 1.0, 0.0)


def test_pair_metrics_are_json() -> None:
    assert json.loads(json.dumps(got := pair_metrics([1.0], [0.0]), allow_nan=False)) == got


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_pair_metrics_refuse_a_reward_that_is_no_number(bad) -> None:
    with pytest.raises(UserError, match="1 of 2 NaN or infinite"):
        pair_metrics([1.0, bad], [0.0, 0.0])
    with pytest.raises(UserError, match="1 of 3 NaN or infinite"):
        item_metrics([[1.0, 0.0], [bad]], [[1.0, 0.0], [1.0]])


def test_pair_metrics_refuse_no_pairs() -> None:
    for rewards, scores in ([], []), ([[1.0], [2.0]], [[1.0], [0.0]]), ([[1.0, 2.0]], [[0.5, 0.5]]):
        with pytest.raises(UserError, match="found none"):
            item_metrics(rewards, scores)
    with pytest.raises(UserError, match="found none"):
        pair_metrics([], [])


def test_pairs_of_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="2 chosen rewards, 1 rejected"):
        pair_metrics([1.0, 2.0], [0.0])
    with pytest.raises(ValueError, match="item 0 has 2 rewards and 1 scores"):
        pairs_of([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="1 items of rewards, 2 items of scores"):
        pairs_of([[1.0]], [[1.0], [0.0]])
    with pytest.raises(UserError, match="scores of item 0: found NaN"):
        pairs_of([[1.0, 2.0]], [[1.0, math.nan]])


def real(case) -> tuple[list[list[float]], list[list[float]]]:
    """Rewards and scores of the responses that are not padding: there the score is below 0."""
    rewards, scores = [], []
    for logits, labels in zip(case["logits"], case["scores"], strict=True):
        kept = [(r, s) for r, s in zip(logits, labels, strict=True) if s >= 0]
        rewards.append([r for r, _ in kept])
        scores.append([s for _, s in kept])
    return rewards, scores


def test_pair_metrics_agree_with_compute_metrics_of_the_authors(vectors) -> None:
    cases, no_pair = vectors("compute_metrics"), 0
    for case in cases:
        rewards, scores = real(case)
        chosen, _ = pairs_of(rewards, scores)
        if not len(chosen):
            assert case["result"]["Preference Acc"] == 0.0
            no_pair += 1
            with pytest.raises(UserError):
                item_metrics(rewards, scores)
            continue
        got = item_metrics(rewards, scores)
        wrong_for_ties = got["accuracy"] - got["reward_ties"] / got["pairs"] / 2  # theirs counts a tie wrong
        assert wrong_for_ties == pytest.approx(case["result"]["Preference Acc"], abs=1e-6), case["name"]
        if sum(map(len, scores)) == sum(map(len, case["scores"])):  # theirs averages padding too
            assert got["reward_mean"] == pytest.approx(case["result"]["Avg Score"], abs=1e-5), case["name"]
    assert no_pair < len(cases) / 4
