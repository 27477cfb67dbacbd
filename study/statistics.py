"""Tests and intervals for the difference between two arms with the same seeds. The unit is a seed.

The test is the two-sided exact sign-flip test at `LEVEL`. The intervals are its inversion, so an interval
excludes 0 if and only if p is at most `LEVEL`.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from apo.core.errors import UserError

LEVEL = 0.05
POWER = 0.8
EXACT = 20
"""The largest number of seeds; the test enumerates all sign flips."""
T_TEST, DRAWS = 10, 20_000
"""Below so many seeds the power is simulated, with so many studies: two standard errors are 0.006."""


class Paired(NamedTuple):
    """A difference over seeds.

    Attributes:
        seeds: The number of pairs.
        first: Mean of the first arm.
        second: Mean of the second arm.
        difference: Mean of first - second.
        low: Lower end of its 95 % interval, see `flip_interval`.
        high: Upper end.
        p: Two-sided, see `sign_flip`.
        spread: Standard deviation of the differences over seeds.
    """

    seeds: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    spread: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """First minus second, seed by seed.

    Raises:
        UserError: There are fewer than two seeds or more than `EXACT`, or a number is not finite.

    >>> result = paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    >>> result.difference, result.p  # 2 of the 8 flips are as far from 0: all plus, all minus
    (2.0, 0.25)
    """
    first_values, second_values = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first_values.ndim != 1 or first_values.shape != second_values.shape:
        raise ValueError(f"shapes {first_values.shape} and {second_values.shape} are not pairs")
    differences = first_values - second_values
    _check(differences)
    low, high = flip_interval(differences)
    return Paired(
        seeds=len(first_values),
        first=first_values.mean().item(),
        second=second_values.mean().item(),
        difference=differences.mean().item(),
        low=low,
        high=high,
        p=sign_flip(differences),
        spread=differences.std(ddof=1).item(),
    )


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value of the null hypothesis that the differences are symmetric about 0 (Fisher, 1935).

    All 2^n choices of signs are counted; the p-value is the fraction of them whose sum is at least as far
    from 0 as the observed one. With n seeds it is at least 2 / 2^n.
    """
    values = np.asarray(differences, dtype=np.float64)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    # Sums that are equal but for rounding count as equal.
    return float((np.abs(sums) >= abs(values.sum()) - 1e-9 * np.abs(values).sum()).mean())


def flip_interval(differences: Sequence[float] | np.ndarray, *, level: float = LEVEL) -> tuple[float, float]:
    """The shifts that `sign_flip` does not reject at `level`: its inversion (Hartigan, 1969).

    A shift above the mean is rejected if at most floor(level 2^n / 2) - 1 of the 2^n - 1 means of nonempty
    subsets of the differences reach it, so the interval ends at subset means. With fewer than 6 seeds
    no shift is rejected at 5 %, and the interval is unbounded.

    >>> flip_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # floor(0.05 * 64 / 2) - 1 = 0 subset means
    (1.0, 6.0)
    """
    values = np.asarray(differences, dtype=np.float64)
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    num_rejected = math.floor(level * 2**values.size / 2 + 1e-9)
    if num_rejected == 0:
        return -math.inf, math.inf
    means = np.sort(sums[1:] / sizes[1:])
    return float(means[num_rejected - 1]), float(means[-num_rejected])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests (Holm, 1979), in the given order.

    >>> holm([0.01, 0.04, 0.03])  # 3 x 0.01; then 2 x 0.03; then 0.04, but not below the one before
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def power(difference: float, spread: float, seeds: int, *, level: float = LEVEL) -> float:
    """The probability that the sign-flip test decides a true difference, for normal differences.

    From `T_TEST` seeds on it is the power of the t test, to which the sign-flip test is close then.

    Args:
        difference: The true mean.
        spread: The standard deviation over seeds.
        seeds: The number of seeds.
        level: The level of the two-sided test.
    """
    effect = abs(difference) / spread
    if seeds < T_TEST:
        return _flip_power(effect, seeds, level)
    shift = effect * math.sqrt(seeds)
    limit = stats.t.ppf(1 - level / 2, seeds - 1)
    if shift > 3 * limit:  # where SciPy's noncentral t loses its digits
        return 1.0
    return float(stats.nct.sf(limit, seeds - 1, shift) + stats.nct.cdf(-limit, seeds - 1, shift))


@cache
def _standard_normal(seeds: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((DRAWS, seeds))


def _flip_power(effect: float, seeds: int, level: float) -> float:
    """The fraction of simulated studies that `sign_flip` decides; always the same draws."""
    signs = np.array(list(product([1.0], *[[1.0, -1.0]] * (seeds - 1))))
    sums = np.abs((_standard_normal(seeds) + effect) @ signs.T)
    p_values = (sums >= sums[:, :1] - 1e-9).mean(axis=1)
    return float((p_values <= level).mean())


def detectable(spread: float, seeds: int) -> float:
    """The smallest true difference that is decided with probability `POWER`; infinite below 6 seeds."""
    if 2 / 2**seeds > LEVEL:
        return math.inf
    effect_size = optimize.brentq(lambda effect: power(effect, 1.0, seeds) - POWER, 1e-3, 3.0)
    return spread * float(effect_size)


def seeds_for(difference: float, spread: float, *, at_most: int = 2000) -> int | None:
    """The smallest number of seeds that decides a true difference with probability `POWER`.

    None if `at_most` are too few.
    """
    low, high = 6, at_most
    if power(difference, spread, high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, spread, middle) >= POWER else (middle + 1, high)
    return low


def spread_factors(seeds: int) -> tuple[float, float]:
    """The 95 % interval of the standard deviation of normal values, as factors of the observed one."""
    low, high = stats.chi2.ppf([0.975, 0.025], seeds - 1)
    return math.sqrt((seeds - 1) / low), math.sqrt((seeds - 1) / high)


def _check(differences: np.ndarray) -> None:
    unusable = int((~np.isfinite(differences)).sum())
    if differences.size < 2 or unusable:
        raise UserError(
            "difference over seeds",
            found=f"{differences.size} seeds, {unusable} of them without a finite number",
            expected="at least 2 finite numbers",
            do="play more seeds",
        )
    if differences.size > EXACT:
        raise UserError(
            "sign-flip test",
            found=f"{differences.size} seeds",
            expected=f"at most {EXACT}",
            do="play fewer seeds",
        )
