"""Temperature scaling: one number T for which sigma((r_i - r_j) / T) fits the preferences (Guo et al., 2017).

It divides all margins of a model by the same number, so it changes neither the order of responses nor the
accuracy, only the confidence: T above 1 corrects an overconfident model, T below 1 an underconfident one. The
temperature is reported; the rewards themselves are not rescaled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from apo.metrics.calibration import calibration_metrics
from apo.metrics.pairs import finite, margins, pair_metrics

LOWEST, HIGHEST = 0.01, 100.0  # bounds of a temperature


class Temperature(NamedTuple):
    """A temperature, in units of the reward.

    Attributes:
        value: T, from 0.01 to 100.
        ends: Why there is no optimum between the bounds; "" if there is one.
    """

    value: float
    ends: str


def fit_temperature(chosen: ArrayLike, rejected: ArrayLike) -> Temperature:
    """The T that minimizes the mean of -log sigma((chosen - rejected) / T).

    It is convex in b = 1/T, and its slope, -mean(m sigma(-b m)) over margins m, increases with b. So the
    slope has at most one root, which is bracketed. If all pairs are in order, there is no root (a smaller T
    is always better) and T is the lowest. If the mean margin is 0 or less, there is none either (a larger T
    is always better) and T is the highest. If all margins are 0, every T has the same likelihood and T is 1.

    Args:
        chosen, rejected: See `apo.metrics.pairs.pair_metrics`.

    Raises:
        UserError: No pair, or a reward that is not finite.

    >>> round(fit_temperature([2.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 2.0]).value, 4)  # sigma(2 / T) = 3/4
    1.8205
    """
    margin = margins(chosen, rejected)

    def slope(inverse: float) -> float:
        return -float((margin * special.expit(-inverse * margin)).mean())

    if not margin.any():
        return Temperature(1.0, "any is as good: the rewards of every pair are equal")
    if slope(1 / HIGHEST) >= 0:
        return Temperature(
            HIGHEST, "the highest tried: the rewards order pairs no better than chance, or differ a lot"
        )
    if slope(1 / LOWEST) <= 0:
        return Temperature(LOWEST, "the lowest tried: all pairs are ordered right, or rewards hardly differ")
    root = optimize.brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-13, rtol=1e-12)
    return Temperature(1 / float(root), "")


def calibrated_metrics(
    chosen: ArrayLike, rejected: ArrayLike, *, temperature: float, bins: Sequence[int]
) -> dict[str, float]:
    """`nll`, `brier`, `ece_10`, ... of sigma((chosen - rejected) / temperature).

    The pairs should not be those on which the temperature was fitted.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    scaled = scale(chosen, temperature), scale(rejected, temperature)
    metrics = pair_metrics(*scaled)
    return {"nll": metrics["nll"], "brier": metrics["brier"], **calibration_metrics(*scaled, bins=bins)}


def scale(rewards: ArrayLike, temperature: float) -> np.ndarray:
    """The rewards divided by the temperature."""
    scaled: np.ndarray = finite("rewards of pairs", rewards) / temperature
    return scaled
