"""Accuracy and calibration of a reward model on comparisons, and those of the true reward if it is known."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from apo.chunks.resumable import Chunks
from apo.core.records import Row
from apo.metrics.calibration import calibration_metrics, one_sided, reliability_curve
from apo.metrics.pairs import item_metrics, pair_counts, pair_metrics, pairs_of
from apo.model.reward_model import RewardModel
from apo.scoring.rewards import rewards_of


class RatedComparisons(NamedTuple):
    """Comparisons with the rewards of a model.

    Attributes:
        rows: The comparisons, without those that the chat template drops.
        counts: The counts of the encoder.
    """

    rows: list[Row]
    rewards: list[list[float]]
    counts: Counter[str]


class RmEvaluation(NamedTuple):
    """The result of `measure`.

    Attributes:
        curve: Rows of the reliability curve.
        chosen, rejected: Rewards of all pairs, shape [pair].
        pairs: Number of pairs of each comparison, in order.
        queries: Number of the query of each comparison, in order, from 0.
    """

    metrics: dict[str, Any]
    curve: list[Row]
    chosen: np.ndarray
    rejected: np.ndarray
    pairs: list[int]
    queries: list[int]


def rate_comparisons(
    model: RewardModel, comparisons: Path, *, desc: str, chunks: Chunks | None = None
) -> RatedComparisons:
    """Computes the rewards of a file of comparisons.

    Args:
        model, chunks: See `apo.scoring.rewards.rewards_of`.
        comparisons: Records that the model was not trained on.

    Raises:
        UserError: A reward is not finite.
    """
    counts: Counter[str] = Counter(dialogues_dropped=0)
    rows, items = model.encoder.read_comparisons(comparisons, counts)
    model.encoder.log_truncation(counts["responses_cut"], where=str(comparisons))
    rewards = list(rewards_of(model, items, desc=desc, total=len(rows), chunks=chunks))
    return RatedComparisons(rows, rewards, counts)


def measure(rated: RatedComparisons, *, truth: Path, bins: Sequence[int]) -> RmEvaluation:
    """Computes metrics, reliability curve and pairs of a reward model on comparisons.

    Args:
        truth: `truth.json` of the raw data; empty if the true reward is not known.
        bins: Numbers of calibration bins; the curve has the first of them.

    Raises:
        UserError: The comparisons have no pair.
    """
    rows, rewards, counts = rated
    scores = [row["scores"] for row in rows]
    numbers: dict[str, int] = {}
    queries = [numbers.setdefault(row["query"], len(numbers)) for row in rows]
    chosen, rejected = pairs_of(rewards, scores)
    metrics: dict[str, Any] = {
        **item_metrics(rewards, scores, queries=queries),
        **calibration_metrics(chosen, rejected, bins=bins),
        "queries_cut": counts["queries_cut"],
        "responses_cut": counts["responses_cut"],
        **({"dialogues_dropped": dropped} if (dropped := counts["dialogues_dropped"]) else {}),
        **_by_type(rows, rewards, queries),
    }
    truth_settings = json.loads(truth.read_text(encoding="utf-8"))
    if truth_settings:
        metrics["truth"] = _truth(rows, rewards, temperature=truth_settings["temperature"], bins=bins)
    curve = curve_rows(chosen, rejected, bins=bins[0])
    return RmEvaluation(metrics, curve, chosen, rejected, pair_counts(scores), queries)


def curve_rows(chosen: np.ndarray, rejected: np.ndarray, *, bins: int) -> list[Row]:
    """The rows of a one-sided reliability curve."""
    curve = reliability_curve(*one_sided(chosen, rejected), bins, lower=0.5)
    return [asdict(curve_bin) for curve_bin in curve]


def _by_type(
    rows: list[Row], rewards: list[list[float]], queries: list[int]
) -> dict[str, dict[str, dict[str, float]]]:
    """The accuracy on each type of comparison, if there are several types."""
    types: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        types.setdefault(row.get("type", ""), []).append(index)
    if len(types) < 2:
        return {}
    by_type = {}
    for name, indices in sorted(types.items()):
        metrics = item_metrics(
            [rewards[i] for i in indices],
            [rows[i]["scores"] for i in indices],
            queries=[queries[i] for i in indices],
        )
        keys = ("pairs", "accuracy", "accuracy_low", "accuracy_high")
        by_type[name or "other"] = {key: metrics[key] for key in keys}
    return {"by_type": by_type}


def _truth(
    rows: list[Row], rewards: list[list[float]], *, temperature: float, bins: Sequence[int]
) -> dict[str, float]:
    """Metrics of the true reward on the same comparisons.

    No model can surpass its accuracy, NLL and Brier score on average. Its calibration errors are no bound:
    equal rewards have none.
    `best_accuracy` is its expected accuracy; `accuracy`, `nll` and the calibration are measured on these
    labels; `agreement` is the fraction of pairs that the model orders like the true reward, without label
    noise; `correlation` is Pearson's r between the rewards of the model and the true rewards.
    """
    from apo.demo import best_accuracy, true_reward

    true_rewards = [[true_reward(row["query"], response) for response in row["responses"]] for row in rows]
    scaled = [[reward / temperature for reward in response_rewards] for response_rewards in true_rewards]
    pairs = pairs_of(scaled, [row["scores"] for row in rows])
    metrics = pair_metrics(*pairs)
    return {
        "best_accuracy": best_accuracy(rows, temperature),
        **{name: metrics[name] for name in ("accuracy", "nll", "brier")},
        **calibration_metrics(*pairs, bins=bins),
        "agreement": float(pair_metrics(*pairs_of(rewards, true_rewards))["accuracy"]),
        "correlation": _correlation(list(chain(*rewards)), list(chain(*true_rewards))),
    }


def _correlation(first: list[float], second: list[float]) -> float:
    """Pearson's r."""
    stacked = torch.tensor([first, second], dtype=torch.float64)
    return float(torch.corrcoef(stacked)[0, 1])
