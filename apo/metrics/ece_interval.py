"""The bootstrap interval of an ECE, and the ECE by chance alone on the same number of pairs.

A calibration error is a mean of absolute gaps, so noise does not cancel: a perfectly calibrated model has an
ECE above 0 on a finite set, and a larger one on fewer pairs. The interval is biased upwards for the same
reason. An ECE below `by_chance` is no evidence against the calibration of the model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.metrics.calibration import bin_indices, both_orders
from apo.metrics.pairs import margins
from apo.metrics.statistics import bootstrap_of_sums

BATCH = 4_000_000  # random numbers per batch


class EceInterval(NamedTuple):
    """The interval of an ECE (both orders of a pair) and its value by chance, fraction 0 to 1.

    Attributes:
        low, high: 95 % percentile bootstrap interval over queries.
        by_chance: 95 % quantile of the ECE of a perfectly calibrated model with margins of this size. It
            assumes independent pairs (too low for items of more than two responses).
    """

    low: float
    high: float
    by_chance: float


def ece_interval(
    chosen: ArrayLike,
    rejected: ArrayLike,
    pairs: Sequence[int],
    *,
    queries: Sequence[int] | None = None,
    bins: int,
    seed: int,
    resamples: int,
) -> EceInterval:
    """The interval of the ECE of sigma(chosen - rejected), and its value by chance.

    Args:
        chosen, rejected: See `apo.metrics.pairs.pair_metrics`.
        pairs: Number of pairs of each comparison, in order.
        queries: The number of the query of each comparison, from 0; None if each has its own. The pairs of
            one query depend on each other, so they are resampled together.

    Raises:
        UserError: No pair, a reward that is not finite, or fewer than two queries with a pair.
    """
    label, probability = both_orders(chosen, rejected)
    # |mean p - mean label| of a bin times its fraction of all pairs = |sum of (p - label)| / number of pairs.
    bin_index = bin_indices(probability, bins)
    query_of = np.arange(len(pairs)) if queries is None else np.asarray(queries)
    unit = np.tile(np.repeat(query_of, pairs), 2)
    sums = np.zeros((query_of.max() + 1, bins + 1))
    np.add.at(sums, (unit, bin_index), probability - label)
    np.add.at(sums, (unit, np.full_like(bin_index, bins)), 1.0)
    interval = bootstrap_of_sums(
        sums[sums[:, bins] > 0],
        lambda total: np.abs(total[:, :bins]).sum(axis=1) / total[:, bins],
        seed=seed,
        resamples=resamples,
    )
    by_chance = _by_chance(chosen, rejected, bins=bins, seed=seed, resamples=resamples)
    return EceInterval(*interval, by_chance)


def _by_chance(chosen: ArrayLike, rejected: ArrayLike, *, bins: int, seed: int, resamples: int) -> float:
    """The 95 % quantile of the ECE if every pair is won with the probability that its margin implies."""
    margin = np.abs(margins(chosen, rejected))
    pairs = margin.size
    confidence = special.expit(margin)  # the probability of the response with the higher reward
    signs = np.zeros((pairs, bins))
    np.add.at(signs, (np.arange(pairs), bin_indices(confidence, bins)), 1.0)
    # In the other order of a pair, p - label has the opposite sign.
    np.add.at(signs, (np.arange(pairs), bin_indices(special.expit(-margin), bins)), -1.0)
    rng = np.random.default_rng(seed)
    eces = []
    for start in range(0, resamples, rows := max(1, BATCH // pairs)):
        wins = rng.random((min(rows, resamples - start), pairs)) < confidence
        # einsum and not @, whose last bits may depend on the number of threads.
        gaps = np.einsum("rp,pb->rb", confidence - wins, signs)
        eces.append(np.abs(gaps).sum(axis=1) / (2 * pairs))
    return float(np.quantile(np.concatenate(eces), 0.95))
