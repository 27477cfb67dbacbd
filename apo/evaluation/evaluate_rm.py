"""Accuracy and calibration of a reward model on comparisons, beside the true reward where it is known."""

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
from apo.core.records import Row, read_rows
from apo.metrics.calibration import calibration_metrics, one_sided, reliability_curve
from apo.metrics.pairs import item_metrics, pair_counts, pair_metrics, pairs_of
from apo.model.reward_model import RewardModel
from apo.scoring.rewards import rewards_of


class Rated(NamedTuple):
    """Comparisons with the rewards of a model.

    Attributes:
        rows: The comparisons, without those that the chat template drops.
        rewards: Of the responses of each.
        counts: What the encoder cut.
    """

    rows: list[Row]
    rewards: list[list[float]]
    counts: Counter[str]


class RmEvaluation(NamedTuple):
    """What `measure` found.

    Attributes:
        metrics: Of the model.
        curve: Rows of its reliability curve.
        chosen, rejected: Rewards of all pairs.
        pairs: How many of them each comparison has, in order.
    """

    metrics: dict[str, Any]
    curve: list[Row]
    chosen: np.ndarray
    rejected: np.ndarray
    pairs: list[int]


def rate_comparisons(
    model: RewardModel, comparisons: Path, *, desc: str, chunks: Chunks | None = None
) -> Rated:
    """The rewards of a file of comparisons.

    Args:
        model: In evaluation mode.
        comparisons: Records that the model was not trained on.
        desc: Name on the progress line.
        chunks: Rewards that were computed already.

    Raises:
        UserError: A reward is not finite.
    """
    all_rows = list(read_rows(comparisons))
    counts: Counter[str] = Counter(dialogues_dropped=0)
    texts = ((row["query"], row["responses"]) for row in all_rows)
    read = list(model.encoder.tokenize(texts, counts, where=str(comparisons)))
    rows = [row for row, one in zip(all_rows, read, strict=True) if one]
    items = [model.encoder.cut(one, counts) for one in read if one]
    model.encoder.log_truncation(counts["responses_cut"], where=str(comparisons))
    return Rated(rows, list(rewards_of(model, items, desc=desc, total=len(rows), chunks=chunks)), counts)


def measure(rated: Rated, *, truth: Path, bins: Sequence[int]) -> RmEvaluation:
    """Metrics on comparisons, the rows of the reliability curve, and the rewards of all pairs.

    Args:
        rated: The comparisons with their rewards.
        truth: `truth.json` of the raw data; empty where the true reward is not known.
        bins: Numbers of calibration bins; the curve has the first one.

    Raises:
        UserError: No pair.
    """
    rows, rewards, counts = rated
    scores = [row["scores"] for row in rows]
    chosen, rejected = pairs_of(rewards, scores)
    metrics: dict[str, Any] = {
        **item_metrics(rewards, scores),
        **calibration_metrics(chosen, rejected, bins=bins),
        "queries_cut": counts["queries_cut"],
        "responses_cut": counts["responses_cut"],
        **({"dialogues_dropped": dropped} if (dropped := counts["dialogues_dropped"]) else {}),
        **_by_type(rows, rewards),
    }
    known = json.loads(truth.read_text(encoding="utf-8"))
    if known:
        metrics["truth"] = _truth(rows, rewards, temperature=known["temperature"], bins=bins)
    curve = curve_rows(chosen, rejected, bins=bins[0])
    return RmEvaluation(metrics, curve, chosen, rejected, pair_counts(scores))


def curve_rows(chosen: np.ndarray, rejected: np.ndarray, *, bins: int) -> list[Row]:
    """The rows of a one-sided reliability curve."""
    return [asdict(part) for part in reliability_curve(*one_sided(chosen, rejected), bins, lower=0.5)]


def _by_type(rows: list[Row], rewards: list[list[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """The accuracy on each type of comparison, where there are several."""
    types: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        types.setdefault(row.get("type", ""), []).append(index)
    if len(types) < 2:
        return {}
    found = {}
    for name, members in sorted(types.items()):
        own = pair_metrics(*pairs_of([rewards[i] for i in members], [rows[i]["scores"] for i in members]))
        kept = ("pairs", "accuracy", "accuracy_low", "accuracy_high")
        found[name or "other"] = {key: own[key] for key in kept}
    return {"by_type": found}


def _truth(
    rows: list[Row], rewards: list[list[float]], *, temperature: float, bins: Sequence[int]
) -> dict[str, float]:
    """The same comparisons judged by the true reward, the best that any model can do.

    `best_accuracy` is its expected accuracy; `accuracy`, `nll` and the calibration are its values on these
    very labels; `agreement` is how often the model orders a pair as the truth does, without label noise.
    """
    from apo.demo import best_accuracy, true_reward

    true = [[true_reward(row["query"], response) for response in row["responses"]] for row in rows]
    scaled = [[value / temperature for value in values] for values in true]
    pairs = pairs_of(scaled, [row["scores"] for row in rows])
    own = pair_metrics(*pairs)
    return {
        "best_accuracy": best_accuracy(rows, temperature),
        **{name: own[name] for name in ("accuracy", "nll", "brier")},
        **calibration_metrics(*pairs, bins=bins),
        "agreement": float(pair_metrics(*pairs_of(rewards, true))["accuracy"]),
        "correlation": _correlation(list(chain(*rewards)), list(chain(*true))),
    }


def _correlation(first: list[float], second: list[float]) -> float:
    """Pearson's r."""
    stacked = torch.tensor([first, second], dtype=torch.float64)
    return float(torch.corrcoef(stacked)[0, 1])
