"""Temperature scaling: one number T for which sigma((r_i - r_j) / T) fits the preferences (Guo et al., 2017).

It divides every margin of a model alike, so it changes neither the order of responses nor the accuracy, only
how sure the probabilities are: T above 1 takes back a model that is too sure, T below 1 one that is not sure
enough. Nothing is rescaled by it; it stands beside the rewards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from apo.metrics.calibration import calibration_metrics
from apo.metrics.pairs import finite, pair_metrics

LOWEST, HIGHEST = 0.01, 100.0  # where a temperature without a finite optimum ends


class Temperature(NamedTuple):
    """A temperature, in units of the reward.

    Attributes:
        value: T, from 0.01 to 100.
        ends: Why it is no optimum inside these bounds, "" where it is one.
    """

    value: float
    ends: str


def fit_temperature(chosen: ArrayLike, rejected: ArrayLike) -> Temperature:
    """The T that minimizes the mean of -log sigma((chosen - rejected) / T).

    With b = 1/T that is convex in b, and its slope, -mean(m sigma(-b m)) over margins m, rises with b: the
    root of the slope is bracketed, and there is one at most. Pairs that are all ordered right have none (the
    surer the better), nor have margins with a mean of 0 or less (the less sure the better): T is the lowest
    or the highest one then. Margins that are all 0 have the same likelihood at any T, which stays 1.

    Args:
        chosen: Rewards of the preferred responses.
        rejected: Rewards of the others, same order.

    Raises:
        UserError: No pair, or a reward that is not finite.

    >>> round(fit_temperature([2.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 2.0]).value, 4)  # sigma(2 / T) = 3/4
    1.8205
    """
    better, worse = finite("rewards of pairs", chosen), finite("rewards of pairs", rejected)
    if better.shape != worse.shape:
        raise ValueError(f"{better.size} chosen rewards, {worse.size} rejected rewards")
    margin = better - worse

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

    Measure it on other pairs than the temperature was fitted on.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    scaled = scale(chosen, temperature), scale(rejected, temperature)
    own = pair_metrics(*scaled)
    return {"nll": own["nll"], "brier": own["brier"], **calibration_metrics(*scaled, bins=bins)}


def scale(rewards: ArrayLike, temperature: float) -> np.ndarray:
    """The rewards divided by the temperature."""
    scaled: np.ndarray = finite("rewards of pairs", rewards) / temperature
    return scaled
