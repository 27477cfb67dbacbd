"""Calibration errors of the probability sigma(r_i - r_j) over equal-width bins, as the authors define them.

There are two definitions. Both orders, as the paper measures it: a pair counts as (i, j) with label 1 and as
(j, i) with label 0, over [0, 1]. With an odd number of bins the two orders cancel in the middle bin, so use
even numbers. One-sided: a pair counts once, with the model's confidence max(p, 1 - p) over [0.5, 1], and the
label is whether the model was right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.core.errors import UserError
from apo.metrics.pairs import finite, margins


class CalibrationError(NamedTuple):
    """Gaps |mean probability - observed frequency| over the bins that are not empty, fraction 0 to 1.

    Attributes:
        ece: Mean, weighted by the count of the bin.
        ace: Unweighted mean.
        mce: Maximum.
    """

    ece: float
    ace: float
    mce: float


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin (lower, upper] of a reliability curve; the first bin includes its lower edge.

    `probability` (mean predicted) and `frequency` (mean label) are None in an empty bin.
    """

    lower: float
    upper: float
    count: int
    probability: float | None
    frequency: float | None


def calibration_error(
    y_true: ArrayLike, y_prob: ArrayLike, n_bins: int, *, lower: float = 0.0
) -> CalibrationError:
    """ECE, ACE and MCE over `n_bins` bins of equal width on [lower, 1].

    Args:
        y_true: Labels 0 or 1; fractions count as soft labels.
        y_prob: Predicted probabilities, fraction 0 to 1.

    Raises:
        UserError: Empty input, or a probability that is NaN or outside [lower, 1].

    >>> calibration_error([1.0, 0.0], [0.75, 0.75], n_bins=10)
    CalibrationError(ece=0.25, ace=0.25, mce=0.25)
    """
    curve = reliability_curve(y_true, y_prob, n_bins, lower=lower)
    filled = [(b.count, b.probability, b.frequency) for b in curve if b.count]
    counts, probability, frequency = np.array(filled, dtype=np.float64).T
    gaps = np.abs(probability - frequency)
    return CalibrationError(float(gaps @ counts / counts.sum()), float(gaps.mean()), float(gaps.max()))


def reliability_curve(
    y_true: ArrayLike, y_prob: ArrayLike, n_bins: int, *, lower: float = 0.0
) -> list[ReliabilityBin]:
    """The bins of `calibration_error`, including empty ones; for plots."""
    label, prob = finite("calibration labels", y_true), finite("calibration probabilities", y_prob)
    if label.shape != prob.shape:
        raise ValueError(f"{label.size} labels, {prob.size} probabilities")
    if n_bins < 1:
        raise ValueError(f"{n_bins} bins")
    outside = int(((prob < lower) | (prob > 1)).sum())
    if outside:
        raise UserError(
            "calibration probabilities",
            found=f"{outside} of {prob.size} outside [{lower:g}, 1]",
            expected="probabilities",
            do="pass sigma(margin), not the margin",
        )
    edges = np.linspace(lower, 1.0, n_bins + 1)
    index = bin_indices(prob, n_bins, lower=lower)
    count = np.bincount(index, minlength=n_bins)
    prob_sum = np.bincount(index, weights=prob, minlength=n_bins)
    label_sum = np.bincount(index, weights=label, minlength=n_bins)
    return [
        ReliabilityBin(
            lower=float(edges[b]),
            upper=float(edges[b + 1]),
            count=int(n),
            probability=float(prob_sum[b] / n) if n else None,
            frequency=float(label_sum[b] / n) if n else None,
        )
        for b, n in enumerate(count)
    ]


def bin_indices(probabilities: np.ndarray, n_bins: int, *, lower: float = 0.0) -> np.ndarray:
    """The bin of each probability, of `n_bins` bins of equal width on [lower, 1].

    A probability on an edge is in the bin below it, as in scikit-learn.
    """
    edges = np.linspace(lower, 1.0, n_bins + 1)
    return np.searchsorted(edges[1:-1], probabilities, side="left")


def both_orders(chosen: ArrayLike, rejected: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of every pair in both orders: first all (1, sigma(m)), then (0, sigma(-m))."""
    margin = margins(chosen, rejected)
    label = np.concatenate([np.ones_like(margin), np.zeros_like(margin)])
    return label, special.expit(np.concatenate([margin, -margin]))


def one_sided(chosen: ArrayLike, rejected: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidences of every pair: 1 if the model is right, 1/2 for a tie, else 0; sigma(|m|)."""
    margin = margins(chosen, rejected)
    return (np.sign(margin) + 1) / 2, special.expit(np.abs(margin))


def calibration_metrics(chosen: ArrayLike, rejected: ArrayLike, *, bins: Sequence[int]) -> dict[str, float]:
    """`ece_10`, `ace_10`, `mce_10` (both orders) and `ece_onesided_10`, ... for each number of bins.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    both, single = both_orders(chosen, rejected), one_sided(chosen, rejected)
    metrics: dict[str, float] = {}
    for n_bins in bins:
        for name, value in calibration_error(*both, n_bins)._asdict().items():
            metrics[f"{name}_{n_bins}"] = value
        for name, value in calibration_error(*single, n_bins, lower=0.5)._asdict().items():
            metrics[f"{name}_onesided_{n_bins}"] = value
    return metrics
