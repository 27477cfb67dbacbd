"""Binned rewards for plots: histograms, accuracy by margin, true reward by reward.

Bins lie on a grid of a round width, 1, 2 or 5 times a power of ten, that begins at 0: the bins of two models,
or of two revisions, then lie on top of each other.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.core.records import Row
from apo.metrics.pairs import finite
from apo.metrics.statistics import wilson_interval

HISTOGRAM_BINS = 40  # at most so many
CURVE_BINS = 16
NORMAL = float(special.ndtri(0.975))


def round_width(span: float, *, at_most: int) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten of which `at_most` cover the span.

    >>> round_width(7.3, at_most=40)  # 0.1 would need 73 bins
    0.2
    """
    if span < 1e-12:  # all the same, but for rounding
        return 1.0
    power = math.floor(math.log10(span / at_most))
    return next(w for w in (float(f"{m}e{power}") for m in (1, 2, 5, 10, 20)) if w * at_most >= span)


def histogram_rows(groups: Mapping[str, ArrayLike]) -> list[Row]:
    """Histograms of several kinds of rewards over the same bins.

    Args:
        groups: Rewards by their kind, such as `chosen` and `rejected`.

    Returns:
        For every kind and bin `kind`, `lower` and `upper` edge (lower <= reward < upper), `reward`, the
        centre, `count`, and `share`, the count over all of the kind. Empty bins between the others have
        count 0, and one stands at each end, so that a line drawn over them comes down.

    Raises:
        UserError: A kind without rewards, or a reward that is not finite.
    """
    values = {kind: finite(f"rewards of {kind}", given) for kind, given in groups.items()}
    every = np.concatenate(list(values.values()))
    width = round_width(float(every.max() - every.min()), at_most=HISTOGRAM_BINS)
    first, last = int(np.floor(every.min() / width)) - 1, int(np.floor(every.max() / width)) + 1
    rows = []
    for kind, own in values.items():
        count = np.bincount(np.floor(own / width).astype(np.int64) - first, minlength=last - first + 1)
        for index, n in enumerate(count.tolist(), start=first):
            rows.append({"kind": kind, **_edges(index, width), "count": n, "share": n / own.size})
    return rows


def margin_rows(chosen: ArrayLike, rejected: ArrayLike) -> list[Row]:
    """How often a model is right, by how sure it is: pairs in bins of |r_chosen - r_rejected|.

    Args:
        chosen: Rewards of the preferred responses.
        rejected: Rewards of the others, same order.

    Returns:
        For every bin with a pair `lower` and `upper` edge, `margin`, the mean |margin| of its pairs, `pairs`,
        how many, `accuracy`, the fraction with chosen > rejected, a tie counted half, with its 95 % Wilson
        interval `low` to `high`, and `probability`, the mean of sigma(|margin|), which the model promises.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    margin = finite("rewards of pairs", chosen) - finite("rewards of pairs", rejected)
    size = np.abs(margin)
    right = (np.sign(margin) + 1) / 2
    width = round_width(float(size.max()), at_most=CURVE_BINS)
    rows = []
    for index, inside in _members(size, width):
        low, high = wilson_interval(float(right[inside].sum()), len(inside))
        edges = _edges(index, width)
        rows.append(
            {
                "lower": edges["lower"],
                "upper": edges["upper"],
                "margin": float(size[inside].mean()),
                "pairs": len(inside),
                "accuracy": float(right[inside].mean()),
                "low": low,
                "high": high,
                "probability": float(special.expit(size[inside]).mean()),
            }
        )
    return rows


TRUTH = ("reward", "true_reward", "low", "high", "count")


def answer_curves(arms: Mapping[str, Sequence[Row]], key: str) -> dict[str, list[Row]]:
    """What one reward model thinks of every language model's answers, as two tables.

    Args:
        arms: Answers by the name of their model, each row with `key` and, in the demo, `true_rewards`: a list
            with a number for each answer.
        key: Where the rewards stand.

    Returns:
        `golden_samples`, the histograms of all, where `kind` is the model or `golden`; `truth`, true reward
        against reward of what the models wrote, without the golden answers; no rows where it is not known.
    """
    rewards = {name: [one for row in rows for one in row[key]] for name, rows in arms.items()}
    written = [row for name, rows in arms.items() if name != "golden" for row in rows]
    truth: list[Row] = []
    if written and "true_rewards" in written[0]:
        own, true = ([one for row in written for one in row[name]] for name in (key, "true_rewards"))
        truth = truth_rows(own, true)
    return {"golden_samples": histogram_rows(rewards), "truth": truth}


def truth_rows(rewards: ArrayLike, true: ArrayLike) -> list[Row]:
    """The true reward of answers, by the reward that a model gives them; demo world only.

    Args:
        rewards: Of answers, by a reward model.
        true: The true rewards of the same answers.

    Returns:
        For every bin of rewards with an answer `lower` and `upper` edge, `reward`, the mean of its rewards,
        `true_reward`, the mean of its true rewards, with its normal 95 % interval `low` to `high` (absent
        where there are fewer than two answers), and `count`, how many.

    Raises:
        UserError: No answer, or a reward that is not finite.
    """
    reward, truth = finite("rewards of answers", rewards), finite("true rewards of answers", true)
    if reward.shape != truth.shape:
        raise ValueError(f"{reward.size} rewards, {truth.size} true rewards")
    width = round_width(float(reward.max() - reward.min()), at_most=CURVE_BINS)
    rows = []
    for index, inside in _members(reward, width):
        edges, mean = _edges(index, width), float(truth[inside].mean())
        row = {
            "lower": edges["lower"],
            "upper": edges["upper"],
            "reward": float(reward[inside].mean()),
            "true_reward": mean,
            "count": len(inside),
        }
        if len(inside) > 1:
            half = NORMAL * float(truth[inside].std(ddof=1)) / math.sqrt(len(inside))
            row |= {"low": mean - half, "high": mean + half}
        rows.append(row)
    return rows


def _members(values: np.ndarray, width: float) -> list[tuple[int, np.ndarray]]:
    """The bins that have a value, in order, with the places of their values."""
    index = np.floor(values / width).astype(np.int64)
    return [(int(one), np.flatnonzero(index == one)) for one in np.unique(index)]


def _edges(index: int, width: float) -> Row:
    """Edges and centre of a bin, without the noise of binary fractions."""
    lower, centre, upper = (float(f"{(index + part) * width:.10g}") for part in (0, 0.5, 1))
    return {"lower": lower, "upper": upper, "reward": centre}
