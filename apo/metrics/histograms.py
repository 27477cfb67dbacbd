"""Binned rewards for plots: histograms, accuracy by margin, true reward by reward.

The edges of bins are multiples of a round width, 1, 2 or 5 times a power of ten. So the bins of two models,
or of two revisions, are aligned.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.core.records import Row
from apo.metrics.pairs import finite, margins
from apo.metrics.statistics import wilson_interval

HISTOGRAM_BINS = 40  # maximum number of bins of a histogram
CURVE_BINS = 16  # and of a curve
Z_95 = float(special.ndtri(0.975))


def round_width(span: float, *, at_most: int) -> float:
    """The smallest width of 1, 2 or 5 times a power of ten with which `at_most` bins cover the span.

    >>> round_width(7.3, at_most=40)  # 0.1 would need 73 bins
    0.2
    """
    if span < 1e-12:  # all values are equal, up to rounding
        return 1.0
    power = math.floor(math.log10(span / at_most))
    widths = (float(f"{mantissa}e{power}") for mantissa in (1, 2, 5, 10, 20))
    return next(width for width in widths if width * at_most >= span)


def histogram_rows(groups: Mapping[str, ArrayLike]) -> list[Row]:
    """Histograms of several kinds of rewards over the same bins.

    Args:
        groups: Rewards by kind, such as `chosen` and `rejected`.

    Returns:
        For every kind and bin `kind`, `lower` and `upper` edge (lower <= reward < upper), `reward`, the
        center, `count`, and `share`, the fraction of the rewards of the kind. Empty bins have count 0; there
        is one at each end, so that a line over the bins starts and ends at 0.

    Raises:
        UserError: A kind has no rewards, or a reward is not finite.
    """
    rewards_by_kind = {kind: finite(f"rewards of {kind}", values) for kind, values in groups.items()}
    all_rewards = np.concatenate(list(rewards_by_kind.values()))
    width = round_width(float(all_rewards.max() - all_rewards.min()), at_most=HISTOGRAM_BINS)
    first, last = int(np.floor(all_rewards.min() / width)) - 1, int(np.floor(all_rewards.max() / width)) + 1
    rows = []
    for kind, rewards in rewards_by_kind.items():
        count = np.bincount(np.floor(rewards / width).astype(np.int64) - first, minlength=last - first + 1)
        for index, n in enumerate(count.tolist(), start=first):
            rows.append({"kind": kind, **_edges(index, width), "count": n, "share": n / rewards.size})
    return rows


def margin_rows(chosen: ArrayLike, rejected: ArrayLike) -> list[Row]:
    """Accuracy by confidence: pairs in bins of |r_chosen - r_rejected|.

    Args:
        chosen, rejected: See `apo.metrics.pairs.pair_metrics`.

    Returns:
        For every bin with a pair `lower` and `upper` edge; `margin`, the mean |margin| of its pairs; `pairs`,
        their number; `accuracy`, the fraction with chosen > rejected, where a tie counts half, with its 95 %
        Wilson interval `low` to `high`; and `probability`, the mean of sigma(|margin|), the accuracy that the
        model predicts.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    margin = margins(chosen, rejected)
    abs_margin = np.abs(margin)
    in_order = (np.sign(margin) + 1) / 2
    width = round_width(float(abs_margin.max()), at_most=CURVE_BINS)
    rows = []
    for index, indices in _filled_bins(abs_margin, width):
        low, high = wilson_interval(float(in_order[indices].sum()), len(indices))
        edges = _edges(index, width)
        rows.append(
            {
                "lower": edges["lower"],
                "upper": edges["upper"],
                "margin": float(abs_margin[indices].mean()),
                "pairs": len(indices),
                "accuracy": float(in_order[indices].mean()),
                "low": low,
                "high": high,
                "probability": float(special.expit(abs_margin[indices]).mean()),
            }
        )
    return rows


TRUTH = ("reward", "true_reward", "low", "high", "count")


def answer_curves(arms: Mapping[str, Sequence[Row]], key: str) -> dict[str, list[Row]]:
    """The rewards of one reward model for the answers of all language models, as two tables.

    Args:
        arms: Answers by the name of their model. Each row has `query` and `samples`, `key` and, in the demo,
            `true_rewards`: a list with a number for each answer.

    Returns:
        `golden_samples`, the histograms of all, where `kind` is the model or `golden`; `truth`, true reward
        by reward of the models' answers, without the golden answers; no rows if it is not known. An answer
        that several models give to a query counts once there.
    """
    rewards = {name: [reward for row in rows for reward in row[key]] for name, rows in arms.items()}
    answers = [row for name, rows in arms.items() if name != "golden" for row in rows]
    truth: list[Row] = []
    if answers and "true_rewards" in answers[0]:
        distinct = {
            (row["query"], text): pair
            for row in answers
            for text, *pair in zip(row["samples"], row[key], row["true_rewards"], strict=True)
        }
        pairs = np.array(list(distinct.values()))
        truth = truth_rows(pairs[:, 0], pairs[:, 1])
    return {"golden_samples": histogram_rows(rewards), "truth": truth}


def truth_rows(rewards: ArrayLike, true: ArrayLike) -> list[Row]:
    """True rewards of answers by the rewards of a reward model; demo world only.

    Args:
        rewards, true: Of the same answers, in the same order.

    Returns:
        For every bin of rewards with an answer `lower` and `upper` edge; `reward`, the mean of its rewards;
        `true_reward`, the mean of its true rewards, with its normal 95 % interval `low` to `high` (absent
        for a single answer); and `count`, the number of answers.

    Raises:
        UserError: There are no answers, or a reward is not finite.
    """
    reward, truth = finite("rewards of answers", rewards), finite("true rewards of answers", true)
    if reward.shape != truth.shape:
        raise ValueError(f"{reward.size} rewards, {truth.size} true rewards")
    width = round_width(float(reward.max() - reward.min()), at_most=CURVE_BINS)
    rows = []
    for index, indices in _filled_bins(reward, width):
        edges, mean = _edges(index, width), float(truth[indices].mean())
        row = {
            "lower": edges["lower"],
            "upper": edges["upper"],
            "reward": float(reward[indices].mean()),
            "true_reward": mean,
            "count": len(indices),
        }
        if len(indices) > 1:
            half_width = Z_95 * float(truth[indices].std(ddof=1)) / math.sqrt(len(indices))
            row |= {"low": mean - half_width, "high": mean + half_width}
        rows.append(row)
    return rows


def _filled_bins(values: np.ndarray, width: float) -> list[tuple[int, np.ndarray]]:
    """The bins that have a value, in order, with the indices of their values."""
    bin_indices = np.floor(values / width).astype(np.int64)
    return [(int(index), np.flatnonzero(bin_indices == index)) for index in np.unique(bin_indices)]


def _edges(index: int, width: float) -> Row:
    """Edges and center of a bin, rounded to 10 digits."""
    lower, center, upper = (float(f"{(index + position) * width:.10g}") for position in (0, 0.5, 1))
    return {"lower": lower, "upper": upper, "reward": center}
