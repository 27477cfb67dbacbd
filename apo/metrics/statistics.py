"""Intervals of a fraction, a paired difference and a sum; a sign test."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.core.errors import UserError


class Interval(NamedTuple):
    """Lower and upper bound, low <= high."""

    low: float
    high: float


class WinTieLose(NamedTuple):
    """Number of queries on which the first of two is better, equal, worse."""

    win: int
    tie: int
    lose: int


def wilson_interval(successes: float, trials: float, *, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a fraction (Wilson, 1927), closed form.

    `successes` may contain halves: a tie adds 0.5. The interval is then conservative, because it assumes that
    every trial is 0 or 1, which has the larger variance. `trials` may be an `effective_number`.

    Raises:
        UserError: No trials.
    """
    if trials == 0:
        raise UserError("interval", found="no trials", expected="at least one", do="check the input's rows")
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    z2 = float(special.ndtri(0.5 + confidence / 2)) ** 2
    fraction = successes / trials
    center = (fraction + z2 / (2 * trials)) / (1 + z2 / trials)
    half_width = math.sqrt(z2 * (fraction * (1 - fraction) / trials + z2 / (4 * trials**2))) / (
        1 + z2 / trials
    )
    # For 0 successes and for no failure the roots are exactly 0 and 1; the subtraction would round.
    low = 0.0 if successes == 0 else center - half_width
    high = 1.0 if successes == trials else center + half_width
    return Interval(low, high)


def effective_number(values: ArrayLike, units: ArrayLike) -> float:
    """The number of independent trials of a fraction that know it as well as trials that come in units.

    The number of trials over their design effect (Kish, 1965, Survey Sampling), which is at least 1: the
    linearized variance of the fraction between units over that of independent trials.

    Args:
        values: 1, 1/2 or 0 of each trial, at least one.
        units: What each trial belongs to, such as the number of its query.

    Returns:
        The number of trials if each is a unit of its own; that of the units if all values are the same, since
        their variance says nothing.

    >>> effective_number([1, 1, 0, 0], [0, 0, 1, 1])  # each query says the same twice: no more than one trial
    1.0
    """
    right = np.asarray(values, dtype=np.float64)
    unit_of = np.unique(np.asarray(units), return_inverse=True)[1]
    unit_count, fraction = int(unit_of.max()) + 1, float(right.mean())
    if unit_count in (1, right.size) or np.ptp(right) == 0:
        return float(unit_count)
    of_units = np.bincount(unit_of, weights=right - fraction)
    variance = float(np.square(of_units).sum()) / right.size**2 * unit_count / (unit_count - 1)
    if variance == 0:
        return float(right.size)
    return min(float(right.size), fraction * (1 - fraction) / variance)


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, seed: int, resamples: int = 9999, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of mean(first - second) over queries.

    Args:
        first, second: One number per query, in the same order.
        seed: Seed of the resampling; the same seed gives the same interval.
        confidence: Confidence level, fraction 0 to 1.

    Raises:
        UserError: Fewer than two queries, or a number that is not finite.
    """
    difference = _differences(first, second)
    if difference.size < 2:
        raise UserError(
            "bootstrap",
            found=f"{difference.size} queries",
            expected="at least 2",
            do="measure on more queries",
        )
    from scipy import stats  # a third of a second, which most stages need not wait for

    result = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        batch=max(1, 10_000_000 // difference.size),
        rng=np.random.default_rng(seed),
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def mean_interval(values: ArrayLike, *, seed: int, resamples: int) -> Interval:
    """Percentile bootstrap 95 % interval of the mean of one value per query; see `paired_bootstrap`."""
    return paired_bootstrap(values, np.zeros(np.shape(values)), seed=seed, resamples=resamples)


def bootstrap_of_sums(
    sums: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a statistic that is a function of sums over units.

    Args:
        sums: The terms of each unit, shape [unit, term]. Units are drawn with replacement, so dependent
            observations, such as the pairs of one query, must be one unit.
        statistic: A function from totals, shape [resample, term], to values, shape [resample].
        seed, confidence: See `paired_bootstrap`.

    Raises:
        UserError: Fewer than two units.
    """
    units = len(sums)
    if units < 2:
        raise UserError(
            "bootstrap",
            found=f"{units} comparisons with a pair",
            expected="at least 2",
            do="measure on more comparisons",
        )
    rng = np.random.default_rng(seed)
    batch = max(1, 10_000_000 // units)
    values = []
    for start in range(0, resamples, batch):
        draws = rng.multinomial(units, np.full(units, 1 / units), size=min(batch, resamples - start))
        # einsum and not @, whose last bits may depend on the number of threads.
        values.append(statistic(np.einsum("ru,ut->rt", draws.astype(np.float64), sums)))
    low, high = np.quantile(np.concatenate(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def win_tie_lose(first: ArrayLike, second: ArrayLike, *, tie: float = 0.0) -> WinTieLose:
    """Number of queries with first > second, with a difference of at most `tie`, and with first < second."""
    difference = _differences(first, second)
    wins, losses = int((difference > tie).sum()), int((difference < -tie).sum())
    return WinTieLose(wins, difference.size - wins - losses, losses)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value that wins and losses are equally likely; ties are not counted.

    Raises:
        UserError: Neither a win nor a loss.

    >>> round(sign_test(5, 0), 4)  # two tails of (1/2)^5
    0.0625
    """
    if wins + losses == 0:
        raise UserError(
            "sign test",
            found="ties only",
            expected="at least one win or loss",
            do="leave the test out: the two are equal on every query",
        )
    from scipy import stats

    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b of two rankings of the same items; None if all values of one of them are equal.

    >>> round(rank_correlation([1, 2, 3], [1, 3, 2]), 4)  # two pairs in the same order, one in the other
    0.3333
    """
    from scipy import stats

    tau = float(stats.kendalltau(first, second).statistic)
    return None if math.isnan(tau) else tau


def _differences(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    first_values, second_values = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first_values.ndim != 1 or first_values.shape != second_values.shape:
        raise ValueError(f"shapes {first_values.shape} and {second_values.shape} are not pairs")
    bad_count = int((~np.isfinite(first_values) | ~np.isfinite(second_values)).sum())
    if bad_count:
        raise UserError(
            "paired comparison",
            found=f"{bad_count} of {first_values.size} queries with NaN or infinity",
            expected="finite numbers",
            do="look for diverged training in the model that produced them",
        )
    return first_values - second_values
