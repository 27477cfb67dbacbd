"""Metrics of rewards on pairs (chosen, rejected): accuracy, NLL, Brier score, margin."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from apo.core.errors import UserError
from apo.metrics.statistics import effective_number, wilson_interval


def pairs_of(
    rewards: Sequence[Sequence[float]], scores: Sequence[Sequence[float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards (chosen, rejected) of every pair with s_i > s_j of every item; a tie in s is no pair.

    Args:
        rewards: One list per item, one number per response; items may have different lengths.
        scores: The same shape.

    Returns:
        Two arrays, ordered by item, then i, then j.

    Raises:
        UserError: A score is NaN.
    """
    if len(rewards) != len(scores):
        raise ValueError(f"{len(rewards)} items of rewards, {len(scores)} items of scores")
    chosen, rejected = [np.empty(0)], [np.empty(0)]
    for item, (item_rewards, item_scores) in enumerate(zip(rewards, scores, strict=True)):
        if len(item_rewards) != len(item_scores):
            raise ValueError(f"item {item} has {len(item_rewards)} rewards and {len(item_scores)} scores")
        reward, score = np.asarray(item_rewards, dtype=np.float64), np.asarray(item_scores, dtype=np.float64)
        if np.isnan(score).any():
            raise UserError(
                f"scores of item {item}",
                found="NaN",
                expected="numbers",
                do="a comparison with NaN has no order: mend the data",
            )
        better, worse = np.nonzero(score[:, None] > score[None, :])
        chosen.append(reward[better])
        rejected.append(reward[worse])
    return np.concatenate(chosen), np.concatenate(rejected)


def pair_counts(scores: Sequence[Sequence[float]]) -> list[int]:
    """Number of pairs of each item, as in `pairs_of`.

    >>> pair_counts([[2.0, 1.0, 1.0], [1.0, 1.0]])
    [2, 0]
    """
    return [sum(better > worse for better in item for worse in item) for item in scores]


def item_metrics(
    rewards: Sequence[Sequence[float]],
    scores: Sequence[Sequence[float]],
    *,
    queries: Sequence[int] | None = None,
) -> dict[str, int | float]:
    """`pair_metrics` of all pairs of the items, and the mean reward of all responses.

    The lists must not contain padding. `queries` has the number of the query of each item; None if each has
    its own.

    Raises:
        UserError: No response, no pair, or a reward that is not finite.
    """
    flat = finite("rewards", [reward for item in rewards for reward in item])
    return {
        "items": len(rewards),
        "responses": int(flat.size),
        "reward_mean": float(flat.mean()),
        **pair_metrics(
            *pairs_of(rewards, scores),
            queries=np.repeat(range(len(scores)) if queries is None else queries, pair_counts(scores)),
        ),
    }


def pair_metrics(
    chosen: ArrayLike, rejected: ArrayLike, *, queries: ArrayLike | None = None
) -> dict[str, int | float]:
    """Accuracy, likelihood and margin of rewards on pairs; p = sigma(chosen - rejected).

    Args:
        chosen, rejected: Rewards of the preferred and of the other response of each pair.
        queries: The number of the query of each pair; None if each has its own.

    Returns:
        `pairs` and `reward_ties` (chosen == rejected), counts; `accuracy`, the fraction with
        chosen > rejected, where a tie counts half, and its 95 % Wilson interval `accuracy_low` to
        `accuracy_high`, of as many pairs as `apo.metrics.statistics.effective_number` says: those of one
        query are not independent; `nll`, the mean of -log p in nats; `brier`, the mean of (1 - p)^2;
        `margin_mean`, the mean of chosen - rejected.

    Raises:
        UserError: No pair, or a reward that is not finite.

    >>> pair_metrics([1.0, 0.0], [0.0, 0.0])["accuracy"]  # one right, one tie
    0.75
    """
    margin = margins(chosen, rejected)
    ties = int((margin == 0).sum())
    in_order = int((margin > 0).sum()) + ties / 2
    share = 1.0
    if queries is not None:
        share = effective_number((np.sign(margin) + 1) / 2, queries) / margin.size
    low, high = wilson_interval(in_order * share, margin.size * share)
    return {
        "pairs": int(margin.size),
        "reward_ties": ties,
        "accuracy": in_order / margin.size,
        "accuracy_low": low,
        "accuracy_high": high,
        "nll": float(np.logaddexp(0.0, -margin).mean()),
        "brier": float(np.square(special.expit(-margin)).mean()),
        "margin_mean": float(margin.mean()),
    }


def margins(chosen: ArrayLike, rejected: ArrayLike) -> np.ndarray:
    """chosen - rejected of every pair, as a float64 vector.

    Raises:
        UserError: No pair, or a reward that is not finite.
    """
    better, worse = finite("rewards of pairs", chosen), finite("rewards of pairs", rejected)
    if better.shape != worse.shape:
        raise ValueError(f"{better.size} chosen rewards, {worse.size} rejected rewards")
    margin: np.ndarray = better - worse
    return margin


def finite(where: str, values: ArrayLike) -> np.ndarray:
    """The values as a float64 vector.

    Raises:
        UserError: There are no values, or one is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{where}: a vector, not shape {array.shape}")
    if array.size == 0:
        raise UserError(where, found="none", expected="at least one", do="check that the input has rows")
    bad_count = int((~np.isfinite(array)).sum())
    if bad_count:
        raise UserError(
            where,
            found=f"{bad_count} of {array.size} NaN or infinite",
            expected="finite numbers",
            do="the model diverged: lower its learning rate, or look at the loss in its log",
        )
    return array
