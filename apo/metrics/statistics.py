"""Intervals of a fraction, a paired difference and a sum; a sign test."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from apo.core.errors import UserError


class Interval(NamedTuple):
    """The two ends, low <= high."""

    low: float
    high: float


class WinTieLose(NamedTuple):
    """How often the first of two is better, equal, worse."""

    win: int
    tie: int
    lose: int


def wilson_interval(successes: float, trials: int, *, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a fraction (Wilson, 1927), closed form.

    `successes` may be a half: a tie that counts half adds 0.5. With a half the variance is that of trials
    which all end in 0 or 1, never less than the true one, so the interval is on the safe side.

    Raises:
        UserError: No trials.
    """
    if trials == 0:
        raise UserError("interval", found="no trials", expected="at least one", do="check the input's rows")
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    z2 = float(special.ndtri(0.5 + confidence / 2)) ** 2
    fraction = successes / trials
    middle = (fraction + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (fraction * (1 - fraction) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    # At the ends the roots are exactly 0 and 1, which the subtraction misses by a rounding.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Interval(low, high)


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, seed: int, resamples: int = 9999, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of mean(first - second) over queries that both were measured on.

    Args:
        first: One number a query.
        second: One number a query, same order.
        seed: Of the resampling; the same seed gives the same interval.
        resamples: How many.
        confidence: Fraction 0 to 1.

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
        sums: What each unit adds, shape [unit, term]. Units are drawn with replacement, so what belongs
            together, such as the pairs of one query, has to be one unit.
        statistic: Totals, shape [resample, term], to values, shape [resample].
        seed: Of the resampling; the same seed gives the same interval.
        resamples: How many.
        confidence: Fraction 0 to 1.

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
    rows = max(1, 10_000_000 // units)
    values = []
    for start in range(0, resamples, rows):
        times = rng.multinomial(units, np.full(units, 1 / units), size=min(rows, resamples - start))
        # einsum and not @, whose last bits may depend on the number of threads.
        values.append(statistic(np.einsum("ru,ut->rt", times.astype(np.float64), sums)))
    low, high = np.quantile(np.concatenate(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def win_tie_lose(first: ArrayLike, second: ArrayLike, *, tie: float = 0.0) -> WinTieLose:
    """How often first > second, first == second up to `tie`, first < second, query by query."""
    difference = _differences(first, second)
    wins, losses = int((difference > tie).sum()), int((difference < -tie).sum())
    return WinTieLose(wins, difference.size - wins - losses, losses)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value that wins and losses are equally likely; ties say nothing about it and stay out.

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
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b of two rankings of the same things; None where one of them is all equal.

    >>> round(rank_correlation([1, 2, 3], [1, 3, 2]), 4)  # two pairs in the same order, one in the other
    0.3333
    """
    tau = float(stats.kendalltau(first, second).statistic)
    return None if math.isnan(tau) else tau


def _differences(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"shapes {one.shape} and {two.shape} are not pairs")
    bad = int((~np.isfinite(one) | ~np.isfinite(two)).sum())
    if bad:
        raise UserError(
            "paired comparison",
            found=f"{bad} of {one.size} queries with NaN or infinity",
            expected="finite numbers",
            do="look for diverged training in the model that produced them",
        )
    return one - two
