"""study/statistics.py by hand, by enumeration and by simulation."""

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.core.errors import UserError
from study import statistics
from study.statistics import (
    LEVEL,
    POWER,
    detectable,
    flip_interval,
    holm,
    paired,
    power,
    seeds_for,
    sign_flip,
    spread_factors,
)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(statistics) == (0, 4)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # all plus and all minus
        ([1.0, 2.0, -3.0], 1.0),  # the sum is 0: every choice is as far
        ([3.0, 2.0, -1.0], 4 / 8),  # |4|: +++ 6, ++- 4, and their mirror images
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, -0.3], 1.0),  # 0.1 + 0.2 - 0.3 is not exactly 0 in floating point
    ],
)
def test_sign_flip_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip(differences) == p


def test_sign_flip_is_that_of_all_signs_counted_one_by_one() -> None:
    values = np.random.default_rng(3).normal(0.5, 1.0, 7)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=7)]
    assert sign_flip(values) == np.mean([one >= abs(values.sum()) - 1e-12 for one in sums])
    assert sign_flip(values) == sign_flip(-values) == sign_flip(5 * values[::-1])


def test_sign_flip_rejects_as_often_as_its_level_says() -> None:
    draw = np.random.default_rng(4).normal(0.0, 1.0, (1000, 8))
    assert 0.03 <= np.mean([sign_flip(one) <= LEVEL for one in draw]) <= 0.07


def test_flip_interval_ends_where_the_test_of_a_shift_turns() -> None:
    values = np.random.default_rng(5).normal(0.3, 1.0, 9)
    low, high = flip_interval(values)
    for end, outward in ((low, -1), (high, 1)):
        assert sign_flip(values - (end - outward * 1e-6)) > LEVEL
        assert sign_flip(values - (end + outward * 1e-6)) <= LEVEL


@given(st.lists(st.integers(-4, 4), min_size=6, max_size=10))
def test_flip_interval_leaves_out_zero_exactly_where_p_is_at_most_the_level(values: list[int]) -> None:
    low, high = flip_interval([float(value) for value in values])
    assert (low <= 0 <= high) == (sign_flip([float(value) for value in values]) > LEVEL)


def test_flip_interval_covers_the_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(2).normal(3.0, 2.0, (2000, 8))
    inside = sum(low <= 3.0 <= high for low, high in map(flip_interval, draw))
    assert 0.94 <= inside / 2000 <= 0.97


def test_flip_interval_of_too_few_seeds_has_no_bound() -> None:
    assert flip_interval([1.0] * 5) == (-math.inf, math.inf)
    assert flip_interval([1.0] * 6) == (1.0, 1.0)


def test_paired_by_hand() -> None:
    result = paired([2.0, 4.0, 9.0], [1.0, 2.0, 6.0])
    assert (result.seeds, result.first, result.second, result.difference) == (3, 5.0, 3.0, 2.0)
    assert (result.p, result.spread) == (0.25, 1.0)
    turned = paired([1.0, 2.0, 6.0, 1.0, 2.0, 3.0], [2.0, 4.0, 9.0, 3.0, 3.0, 6.0])
    straight = paired([2.0, 4.0, 9.0, 3.0, 3.0, 6.0], [1.0, 2.0, 6.0, 1.0, 2.0, 3.0])
    assert (turned.low, turned.high) == (-straight.high, -straight.low)


def test_paired_refuses_what_no_statistic_is_made_of() -> None:
    with pytest.raises(UserError, match="1 seeds"):
        paired([1.0], [0.0])
    with pytest.raises(UserError, match="1 of them without a finite number"):
        paired([1.0, math.nan], [0.0, 0.0])
    with pytest.raises(UserError, match="at most 20"):
        paired([1.0] * 21, [0.0] * 21)
    with pytest.raises(ValueError, match="not pairs"):
        paired([1.0, 2.0], [1.0])


def test_holm_by_hand_and_its_bounds() -> None:
    assert holm([0.04, 0.01]) == [0.04, 0.02]
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
    ps = list(np.random.default_rng(5).uniform(0, 1, 20))
    corrected = holm(ps)
    assert all(p <= one <= min(1.0, 20 * p) for p, one in zip(ps, corrected, strict=True))
    assert np.argsort(ps).tolist() == sorted(range(20), key=lambda i: (corrected[i], ps[i]))


@pytest.mark.parametrize(("seeds", "effect"), [(6, 1.57), (7, 1.57), (9, 1.0), (10, 0.8)])
def test_power_is_that_of_the_sign_flip_test_by_simulation(seeds: int, effect: float) -> None:
    rng = np.random.default_rng(5)
    rejected = np.mean([sign_flip(rng.normal(effect, 1.0, seeds)) <= LEVEL for _ in range(3000)])
    assert power(effect, 1.0, seeds) == pytest.approx(rejected, abs=0.025)


def test_power_at_its_ends() -> None:
    assert power(0.0, 1.0, 10) == pytest.approx(LEVEL)
    assert power(1e6, 1.0, 10) == 1.0
    assert power(100.0, 1.0, 5) == 0.0  # the sign-flip test cannot reach 5 % with five seeds
    all_positive = 0.5 * math.erfc(-1.57 / 2**0.5)  # six seeds decide if all have one sign
    assert power(1.57, 1.0, 6) == pytest.approx(all_positive**6, abs=0.01)


def test_detectable_is_decided_by_the_sign_flip_test_with_the_stated_power() -> None:
    difference = detectable(0.2, 10)
    draw = np.random.default_rng(8).normal(difference, 0.2, (1500, 10))
    assert np.mean([sign_flip(one) <= LEVEL for one in draw]) == pytest.approx(POWER, abs=0.03)
    assert detectable(0.4, 10) == pytest.approx(2 * difference)
    assert detectable(0.2, 5) == math.inf


def test_seeds_for_is_the_smallest_number_with_the_stated_power() -> None:
    seeds = seeds_for(0.1, 0.164)
    assert seeds is not None
    assert power(0.1, 0.164, seeds) >= POWER > power(0.1, 0.164, seeds - 1)
    assert seeds_for(100.0, 1.0) == 6
    assert seeds_for(0.001, 1.0) is None


def test_spread_factors_hold_the_true_spread_as_often_as_they_say() -> None:
    low, high = spread_factors(10)
    spreads = np.random.default_rng(9).normal(0.0, 1.0, (4000, 10)).std(axis=1, ddof=1)
    assert np.mean((low * spreads <= 1.0) & (high * spreads >= 1.0)) == pytest.approx(0.95, abs=0.012)
