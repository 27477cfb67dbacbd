"""The bootstrap interval of an ECE, and the ECE that chance alone gives on so few pairs.

A calibration error is a mean of absolute gaps, so noise never cancels in it: a perfectly calibrated model has
an ECE above 0 on any finite set, the higher the fewer pairs there are. The interval leans upwards for the
same reason. `by_chance` says what the ECE has to exceed before it says anything about the model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.metrics.calibration import both_orders, calibration_error
from apo.metrics.statistics import bootstrap_of_sums

BATCH = 4_000_000  # numbers that are drawn at once


class EceInterval(NamedTuple):
    """An ECE (both orders of a pair) with what is known of its noise, fraction 0 to 1.

    Attributes:
        ece: As `calibration_error` gives it.
        low, high: 95 % percentile bootstrap interval over comparisons.
        by_chance: 19 of 20 perfectly calibrated models with margins of this size stay at or below it; it
            takes pairs as independent (K-way items make it too low).
    """

    ece: float
    low: float
    high: float
    by_chance: float


def ece_interval(
    chosen: ArrayLike, rejected: ArrayLike, pairs: Sequence[int], *, bins: int, seed: int, resamples: int
) -> EceInterval:
    """The ECE of sigma(chosen - rejected) with its noise.

    Args:
        chosen: Rewards of the preferred responses.
        rejected: Rewards of the others, same order.
        pairs: How many of them each comparison has, in order: the pairs of one comparison share responses,
            so they are drawn together.
        bins: Number of bins.
        seed: Of the resampling.
        resamples: How many.

    Raises:
        UserError: No pair, a reward that is not finite, or fewer than two comparisons with a pair.
    """
    label, probability = both_orders(chosen, rejected)
    ece = calibration_error(label, probability, bins).ece
    # |mean p - mean label| of a bin times its share of all: |sum of (p - label)| over the number of all.
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], probability, side="left")
    owner = np.tile(np.repeat(np.arange(len(pairs)), pairs), 2)
    sums = np.zeros((len(pairs), bins + 1))
    np.add.at(sums, (owner, place), probability - label)
    np.add.at(sums, (owner, np.full_like(place, bins)), 1.0)
    interval = bootstrap_of_sums(
        sums[np.asarray(pairs) > 0],
        lambda total: np.abs(total[:, :bins]).sum(axis=1) / total[:, bins],
        seed=seed,
        resamples=resamples,
    )
    return EceInterval(
        ece, *interval, _by_chance(chosen, rejected, bins=bins, seed=seed, resamples=resamples)
    )


def _by_chance(chosen: ArrayLike, rejected: ArrayLike, *, bins: int, seed: int, resamples: int) -> float:
    """The 95 % quantile of the ECE where every pair is won with the probability that the margin says."""
    size = np.abs(np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64))
    surer, other = special.expit(size), special.expit(-size)
    edges = np.linspace(0.0, 1.0, bins + 1)
    upper = np.searchsorted(edges[1:-1], surer, side="left")  # of the response with the higher reward
    lower = np.searchsorted(edges[1:-1], other, side="left")
    into = np.zeros((size.size, bins))
    np.add.at(into, (np.arange(size.size), upper), 1.0)
    np.add.at(into, (np.arange(size.size), lower), -1.0)  # p - label of the other order is the same, negated
    rng = np.random.default_rng(seed)
    found = []
    for start in range(0, resamples, rows := max(1, BATCH // size.size)):
        wins = rng.random((min(rows, resamples - start), size.size)) < surer
        # einsum and not @, whose last bits may depend on the number of threads.
        gaps = np.einsum("rp,pb->rb", surer - wins, into)
        found.append(np.abs(gaps).sum(axis=1) / (2 * size.size))
    return float(np.quantile(np.concatenate(found), 0.95))
