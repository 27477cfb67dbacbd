"""How sure a difference between two arms is that were played with the same seeds; the unit is a seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from apo.core.errors import UserError

EXACT = 16  # seeds up to which all sign flips are counted


class Paired(NamedTuple):
    """A difference over seeds.

    Attributes:
        seeds: How many pairs.
        first, second: Means.
        difference: Mean of first - second.
        low, high: Its 95 % interval by Student's t.
        p: Two-sided, of the exact sign-flip permutation test.
    """

    seeds: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """First minus second, seed by seed.

    Raises:
        UserError: Fewer than two seeds.

    >>> found = paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    >>> found.difference, found.p  # 2 of the 8 flips are as far from 0: all plus, all minus
    (2.0, 0.25)
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"shapes {one.shape} and {two.shape} are not pairs")
    difference = one - two
    low, high = mean_interval(difference)
    return Paired(
        len(one),
        one.mean().item(),
        two.mean().item(),
        difference.mean().item(),
        low,
        high,
        sign_flip(difference),
    )


def mean_interval(values: Sequence[float] | np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a mean by Student's t: mean +- t(n - 1) s / sqrt(n).

    Raises:
        UserError: Fewer than two values, or one that is not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.size < 2 or not np.isfinite(found).all():
        raise UserError(
            "interval over seeds",
            found=f"{found.size} seeds, {int((~np.isfinite(found)).sum())} of them without a finite number",
            expected="at least 2 finite numbers",
            do="play more seeds",
        )
    half = stats.t.ppf(0.5 + confidence / 2, found.size - 1) * found.std(ddof=1) / np.sqrt(found.size)
    return float(found.mean() - half), float(found.mean() + half)


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value that every difference could as well have had the other sign (Fisher, 1935).

    All 2^n choices of signs are counted; the p-value is the part of them whose sum is at least as far from 0
    as the one that was found. With n seeds it is at least 2 / 2^n.

    Raises:
        UserError: More seeds than can be counted.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size > EXACT:
        raise UserError(
            "sign-flip test", found=f"{values.size} seeds", expected=f"at most {EXACT}", do="play fewer seeds"
        )
    flips = (np.arange(2**values.size)[:, None] >> np.arange(values.size)) & 1
    sums = np.abs((1 - 2 * flips) @ values)
    # Sums that are equal but for rounding count as equal.
    return float((sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (Holm, 1979), in their order.

    >>> holm([0.01, 0.04, 0.03])  # 3 x 0.01; then 2 x 0.03; then 0.04, but not below the one before
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
