"""apo/evaluation/evaluate_rm.py: accuracy, calibration, types and truth of comparisons, by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from apo.core.records import write_rows
from apo.demo import World, best_accuracy, true_reward
from apo.evaluation.evaluate_rm import measure, rate_comparisons
from apo.metrics.calibration import calibration_error
from apo.model.reward_model import RewardModel
from tests.apo.scoring.test_rewards import flat, one_by_one
from tests.helpers import tiny_models as tiny


@pytest.fixture
def model(tmp_path: Path) -> RewardModel:
    return tiny.reward_model(tmp_path / "backbone")


COMPARISONS = [
    {"query": tiny.query("What is 1 plus 2?"), "responses": ["3", "4"], "scores": [1.0, 0.0]},
    {
        "query": tiny.query("What is 2 plus 2?"),
        "responses": ["5", "4, my friend."],
        "scores": [0.0, 1.0],
    },
    {
        "query": tiny.query("What is 5 plus 4?"),
        "responses": ["9", "8", "no"],
        "scores": [2.0, 1.0, 1.0],
    },
]
# Chosen and rejected of every pair, by item and response.
PAIRS = [((0, 0), (0, 1)), ((1, 1), (1, 0)), ((2, 0), (2, 1)), ((2, 0), (2, 2))]


@pytest.fixture
def measured(model: RewardModel, tmp_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[Any]]:
    """Metrics, reliability curve, and the rewards."""
    write_rows(tmp_path / "test.jsonl", COMPARISONS)
    (tmp_path / "truth.json").write_text("{}")
    rated = rate_comparisons(model, tmp_path / "test.jsonl", desc="test")
    metrics, curve, *_ = measure(rated, truth=tmp_path / "truth.json", bins=[10, 4])
    return metrics, curve, [one_by_one(model, row, row["responses"]) for row in COMPARISONS]


def test_measure_by_hand(measured: Any) -> None:
    metrics, _, rewards = measured
    margins = [rewards[i][j] - rewards[k][m] for (i, j), (k, m) in PAIRS]
    assert metrics["items"] == 3 and metrics["responses"] == 7 and metrics["pairs"] == 4
    assert metrics["accuracy"] == sum(margin > 0 for margin in margins) / 4
    assert metrics["nll"] == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 4, abs=1e-5)
    assert metrics["margin_mean"] == pytest.approx(sum(margins) / 4, abs=1e-5)
    assert metrics["reward_mean"] == pytest.approx(sum(map(sum, rewards)) / 7, abs=1e-5)
    assert metrics["queries_cut"] == metrics["responses_cut"] == 0
    assert "truth" not in metrics  # it is not known
    assert "by_type" not in metrics  # there is but one
    probabilities = [1 / (1 + math.exp(-margin)) for margin in margins]
    both = [*probabilities, *(1 - p for p in probabilities)]
    for bins in (10, 4):
        expected = calibration_error([1.0] * 4 + [0.0] * 4, both, bins)
        assert metrics[f"ece_{bins}"] == pytest.approx(expected.ece, abs=1e-5)
        assert metrics[f"mce_{bins}"] == pytest.approx(expected.mce, abs=1e-5)


def test_measure_numbers_the_queries(model: RewardModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [COMPARISONS[0], COMPARISONS[1], COMPARISONS[0]])
    (tmp_path / "truth.json").write_text("{}")
    rated = rate_comparisons(model, tmp_path / "test.jsonl", desc="test")
    assert measure(rated, truth=tmp_path / "truth.json", bins=[10]).queries == [0, 1, 0]


def test_measure_of_each_type_by_hand(model: RewardModel, tmp_path: Path) -> None:
    types = ["harmless", "", "harmless"]
    rows = [{**row, "type": kind} for row, kind in zip(COMPARISONS, types, strict=True)]
    write_rows(tmp_path / "test.jsonl", rows)
    (tmp_path / "truth.json").write_text("{}")
    rated = rate_comparisons(model, tmp_path / "test.jsonl", desc="test")
    metrics, *_ = measure(rated, truth=tmp_path / "truth.json", bins=[10])
    rewards = [one_by_one(model, row, row["responses"]) for row in rows]
    right = [float(rewards[i][j] > rewards[k][m]) for (i, j), (k, m) in PAIRS]
    by_type = metrics["by_type"]
    assert {name: values["pairs"] for name, values in by_type.items()} == {"harmless": 3, "other": 1}
    assert by_type["harmless"]["accuracy"] == pytest.approx((right[0] + right[2] + right[3]) / 3)
    assert by_type["other"]["accuracy"] == right[1]
    assert by_type["other"]["accuracy_low"] < by_type["other"]["accuracy_high"]


def test_curve_rows_has_the_first_number_of_bins(measured: Any) -> None:
    _, curve, _ = measured
    assert [row["lower"] for row in curve] == pytest.approx([0.5 + 0.05 * i for i in range(10)])
    assert sum(row["count"] for row in curve) == 4


def test_measure_of_the_truth_by_hand(tmp_path: Path) -> None:
    model = tiny.reward_model(tmp_path / "backbone", max_length=200)
    world = World(seed=1)
    rows = list(world.comparisons(world.queries(12, "test", set()), 2.0, "test"))
    write_rows(tmp_path / "test.jsonl", rows)
    (tmp_path / "truth.json").write_text('{"temperature": 2.0}')
    rated = rate_comparisons(model, tmp_path / "test.jsonl", desc="test")
    metrics, *_ = measure(rated, truth=tmp_path / "truth.json", bins=[10])
    rewards = [one_by_one(model, row, row["responses"]) for row in rows]
    true = [[true_reward(row["query"], text) for text in row["responses"]] for row in rows]
    margins = [
        known[i] - known[j]
        for known, row in zip(true, rows, strict=True)
        for i, better in enumerate(row["scores"])
        for j, worse in enumerate(row["scores"])
        if better > worse
    ]
    truth = metrics["truth"]
    assert truth["accuracy"] == pytest.approx(sum(0.5 * (m == 0) + (m > 0) for m in margins) / len(margins))
    losses = [math.log1p(math.exp(-m / 2.0)) for m in margins]
    assert truth["nll"] == pytest.approx(sum(losses) / len(losses))
    assert truth["best_accuracy"] == best_accuracy(rows, 2.0)
    ordered = agreed = 0.0
    for reward, known in zip(rewards, true, strict=True):
        for i in range(len(reward)):
            for j in range(len(reward)):
                if known[i] > known[j]:
                    ordered += 1
                    agreed += reward[i] > reward[j]
    assert truth["agreement"] == pytest.approx(agreed / ordered)
    x, y = torch.tensor(flat(rewards)), torch.tensor(flat(true))
    x, y = x - x.mean(), y - y.mean()
    assert truth["correlation"] == pytest.approx((x @ y / (x.norm() * y.norm())).item(), abs=1e-5)
