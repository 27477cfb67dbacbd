"""apo/metrics/statistics.py against SciPy and against numbers by hand."""

import doctest
import math

import numpy as np
import pytest
from scipy import stats

from apo.core.errors import UserError
from apo.metrics import statistics
from apo.metrics.statistics import (
    bootstrap_of_sums,
    effective_number,
    paired_bootstrap,
    sign_test,
    wilson_interval,
    win_tie_lose,
)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(statistics) == (0, 3)


@pytest.mark.parametrize("trials", [1, 2, 10, 999])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_interval_equals_scipy(trials, confidence) -> None:
    for successes in {0, 1, trials // 3, trials - 1, trials}:
        ours = wilson_interval(successes, trials, confidence=confidence)
        theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_effective_number_by_hand() -> None:
    assert effective_number([1, 0, 1, 0.5], [3, 1, 2, 0]) == 4  # each for itself
    assert effective_number([1, 1, 0], [7, 7, 7]) == 1
    assert effective_number([1, 1, 1, 1], [0, 0, 1, 1]) == 2  # all the same: as many as there are queries
    assert effective_number([1, 0, 1, 0], [0, 0, 1, 1]) == 4  # no query differs from another
    # Fraction 1/2, three queries with sums of 1, 0 and -1 around it: 3/2 x 2/36 = 1/12; 1/4 over it.
    assert effective_number([1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 2, 2]) == pytest.approx(3)


def test_effective_number_is_that_of_the_spread_between_queries() -> None:
    """The fraction of 400 queries with 5 pairs, which are alike by 0.5, over and over."""
    rng = np.random.default_rng(0)
    queries = np.repeat(np.arange(400), 5)
    fractions, numbers = [], []
    for _ in range(300):
        of_query, alone = rng.random(400) < 0.6, rng.random(2000) < 0.6
        right = np.where(rng.random(2000) < 0.5**0.5, of_query[queries], alone)
        fractions.append(right.mean())
        numbers.append(effective_number(right, queries))
    measured = 0.24 / np.var(fractions)
    assert np.mean(numbers) == pytest.approx(measured, rel=0.2)
    assert np.mean(numbers) == pytest.approx(2000 / 3, rel=0.05)  # 1 + 4 x 0.5


def test_wilson_interval_by_hand() -> None:
    # One of one: the lower root is 1 / (1 + z^2), with z = 1.959964.
    assert wilson_interval(1, 1) == pytest.approx((1 / (1 + 1.959964**2), 1.0))


def test_wilson_interval_of_a_half_lies_between_its_neighbours() -> None:
    below, half, above = (wilson_interval(successes, 10) for successes in (4, 4.5, 5))
    assert below.low < half.low < above.low and below.high < half.high < above.high
    mirrored = wilson_interval(5.5, 10)
    assert half == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


def test_wilson_interval_covers_ties_that_count_half() -> None:
    # Each trial is 0, 1/2 or 1; the interval that takes it for 0 or 1 must cover at least as often.
    rng = np.random.default_rng(0)
    outcomes = rng.choice([0.0, 0.5, 1.0], p=[0.3, 0.2, 0.5], size=(2000, 50)).sum(axis=1)
    covered = [low <= 0.6 <= high for low, high in (wilson_interval(k, 50) for k in outcomes.tolist())]
    assert np.mean(covered) > 0.95


def test_wilson_interval_refuses_no_trials() -> None:
    with pytest.raises(UserError, match="no trials"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson_interval(3, 2)


def test_paired_bootstrap_depends_on_the_seed_alone() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 40))
    assert paired_bootstrap(first, second, seed=3) == paired_bootstrap(first, second, seed=3)
    assert paired_bootstrap(first, second, seed=3) != paired_bootstrap(first, second, seed=4)


def test_paired_bootstrap_is_paired() -> None:
    # The spread between queries is huge, the difference always 1: only pairing sees that.
    base = np.random.default_rng(2).normal(scale=1000.0, size=30).round()
    assert paired_bootstrap(base + 1, base, seed=0) == (1.0, 1.0)
    assert paired_bootstrap(base, base + 1, seed=0) == (-1.0, -1.0)


def test_paired_bootstrap_agrees_with_the_normal_interval() -> None:
    first = np.random.default_rng(3).normal(loc=0.3, size=2000)
    low, high = paired_bootstrap(first, np.zeros(2000), seed=0)
    half = 1.96 * first.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx((first.mean() - half, first.mean() + half), abs=0.004)


def test_paired_bootstrap_widens_with_confidence() -> None:
    first = np.random.default_rng(4).normal(size=100)
    narrow = paired_bootstrap(first, np.zeros(100), seed=0, confidence=0.5)
    wide = paired_bootstrap(first, np.zeros(100), seed=0, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_bootstrap_refuses_what_is_no_sample() -> None:
    with pytest.raises(UserError, match="1 queries"):
        paired_bootstrap([1.0], [0.0], seed=0)
    with pytest.raises(UserError, match="1 of 2 queries with NaN"):
        paired_bootstrap([1.0, math.nan], [0.0, 0.0], seed=0)
    with pytest.raises(ValueError, match="not pairs"):
        paired_bootstrap([1.0, 2.0], [0.0], seed=0)


def test_win_tie_lose_is_seen_from_the_first() -> None:
    assert win_tie_lose([2.0, 1.0, 0.0, 5.0], [1.0, 1.0, 1.0, 4.0]) == (2, 1, 1)


def test_sign_test_by_hand() -> None:
    assert sign_test(3, 3) == 1.0
    # 8 of 10: 2 * (C(10,8) + C(10,9) + C(10,10)) / 2^10 = 112 / 1024
    assert sign_test(8, 2) == pytest.approx(112 / 1024) == pytest.approx(sign_test(2, 8))
    with pytest.raises(UserError, match="ties only"):
        sign_test(0, 0)


# Sums


def mean_of(total: np.ndarray) -> np.ndarray:
    return total[:, 0] / total[:, 1]


def test_bootstrap_of_sums_of_a_mean_equals_scipy() -> None:
    values = np.random.default_rng(3).exponential(size=200)
    sums = np.stack([values, np.ones(200)], axis=1)
    ours = bootstrap_of_sums(sums, mean_of, seed=1, resamples=9999)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    narrow = bootstrap_of_sums(sums, mean_of, seed=1, resamples=9999, confidence=0.5)
    assert ours.low < narrow.low < values.mean() < narrow.high < ours.high


def test_bootstrap_of_sums_keeps_units_whole() -> None:
    # Two units, 0 of 1 and 3 of 3: each draw is one of 0/2, 3/4, 6/6.
    sums = np.array([[0.0, 1.0], [3.0, 3.0]])
    seen: list[float] = []

    def look(total: np.ndarray) -> np.ndarray:
        seen.extend(mean_of(total).tolist())
        return mean_of(total)

    assert bootstrap_of_sums(sums, look, seed=1, resamples=400) == (0.0, 1.0)
    shares = [seen.count(value) / 400 for value in (0.0, 0.75, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.08)
    assert sum(shares) == 1.0


def test_bootstrap_of_sums_refuses_one_unit() -> None:
    with pytest.raises(UserError, match="found 1 comparisons"):
        bootstrap_of_sums(np.ones((1, 2)), mean_of, seed=1, resamples=100)
