"""rewards.py, and what is measured with it (measurement.py, verify in reward_recipe.py)."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.demo import World, best_accuracy, true_reward
from apo.evaluation.evaluate_rm import measure
from apo.metrics.calibration import calibration_error
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from apo.reward.recipe import verify
from apo.scoring import rewards
from apo.scoring.rewards import rewards_of, score_answers, score_samples
from tests.helpers import tiny_models as tiny


@pytest.fixture
def model(tmp_path: Path) -> RewardModel:
    return tiny.reward_model(tmp_path / "backbone")


def flat(rewards: Any) -> list[float]:
    return [value for row in rewards for value in row]


def alone(model: RewardModel, items: list[ResponseSet]) -> list[list[float]]:
    """Each item in a run of its own."""
    return [next(rewards_of(model, [item], desc="")) for item in items]


# Rewards


def test_neither_budget_nor_order_nor_neighbours_change_a_reward(
    model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tiny.random_items(2, [1, 4, 2, 8, 3, 1, 5, 2, 4, 4])
    expected = alone(model, items)
    assert torch.tensor(flat(expected)).std() > 0.01
    for budget in ("1", "50", "200", "16384"):
        monkeypatch.setenv("APO_TOKEN_BUDGET", budget)
        found = list(rewards_of(model, iter(items), desc=""))
        assert [len(row) for row in found] == [1, 4, 2, 8, 3, 1, 5, 2, 4, 4]
        assert flat(found) == pytest.approx(flat(expected), abs=1e-5)
    order = [7, 2, 9, 0, 5, 1, 8, 3, 6, 4]
    found = list(rewards_of(model, [items[i] for i in order], desc=""))
    assert flat(found) == pytest.approx(flat([expected[i] for i in order]), abs=1e-5)


def test_the_order_of_the_stream_is_kept_over_windows(
    model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewards, "WINDOW", 4)
    monkeypatch.setenv("APO_TOKEN_BUDGET", "60")
    items = tiny.random_items(4, [2] * 11)
    found = list(rewards_of(model, iter(items), desc=""))
    assert flat(found) == pytest.approx(flat(alone(model, items)), abs=1e-5)


def test_a_stream_is_read_window_by_window(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "WINDOW", 4)
    drawn = 0

    def items() -> Any:
        nonlocal drawn
        for item in tiny.random_items(4, [2] * 11):
            drawn += 1
            yield item

    next(rewards_of(model, items(), desc=""))
    assert drawn == 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_is_refused(model: RewardModel, bad: float) -> None:
    with torch.no_grad():
        model.classifier.score.weight[0, 3] = bad
    with pytest.raises(UserError, match="score base: found a reward that is NaN or infinite"):
        list(rewards_of(model, tiny.random_items(1, [2]), desc="score base"))


def test_rewards_are_written_in_full(model: RewardModel) -> None:
    """Every float32 comes back from its text as it was."""
    item = tiny.random_items(1, [3])[0]
    [found] = rewards_of(model, [item], desc="")
    assert [torch.tensor(value).item() for value in json.loads(json.dumps(found))] == found
    assert any(abs(value) != round(abs(value), 6) for value in found)


# Samples

ROWS: list[dict[str, Any]] = [
    {
        "query_id": "a",
        "query": tiny.query("What is 1 plus 2?"),
        "samples": ["3", "", "4, my friend."],
        "extra": {"hh_best": "12", "golden": "3, my friend."},
    },
    {
        "query_id": "b",
        "query": tiny.query("What is 2 plus 2?"),
        "samples": ["4", "  ", "5"],
        "extra": {},
    },
    {"query_id": "c", "query": tiny.query("Where did you eat?"), "samples": ["At the café."]},
]


def one_by_one(model: RewardModel, row: dict[str, Any], texts: list[str]) -> list[float]:
    pairs = ((row["query"], [text]) for text in texts)
    items = model.encoder.items(pairs, Counter(), where="rows", allow_blank=True)
    return flat(rewards_of(model, items, desc=""))


@pytest.mark.parametrize("extra_answers", [True, False])
def test_samples_get_the_rewards_of_their_texts(
    model: RewardModel, tmp_path: Path, extra_answers: bool
) -> None:
    path, counts = tmp_path / "samples.jsonl", Counter[str]()
    write_rows(path, ROWS)
    found = list(score_samples(model, path, extra_answers=extra_answers, desc="score", counts=counts))
    assert [row["query_id"] for row in found] == ["a", "b", "c"]
    for row, own in zip(ROWS, found, strict=True):
        assert own["scores"] == pytest.approx(one_by_one(model, row, row["samples"]), abs=1e-5)
    if extra_answers:
        assert found[0]["extra"].keys() == {"hh_best", "golden"}
        expected = one_by_one(model, ROWS[0], ["12", "3, my friend."])
        assert [found[0]["extra"][name] for name in ("hh_best", "golden")] == pytest.approx(
            expected, abs=1e-5
        )
        assert abs(expected[0] - expected[1]) > 1e-3
    assert ["extra" in row for row in found] == [extra_answers, False, False]
    assert counts["items"] == 3
    assert counts["responses"] == (9 if extra_answers else 7)
    assert counts["queries_cut"] == counts["responses_cut"] == 0


def test_a_blank_sample_is_rated_as_saying_nothing(model: RewardModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "samples.jsonl", ROWS)
    found = list(
        score_samples(
            model,
            tmp_path / "samples.jsonl",
            extra_answers=False,
            desc="",
            counts=Counter(),
        )
    )
    [item] = model.encoder.items([(ROWS[0]["query"], ["3"])], Counter(), where="rows")
    nothing = ResponseSet(item.prefix[:-1], [item.prefix[-1:]])  # the query alone, read at its last token
    assert found[0]["scores"][1] == pytest.approx(alone(model, [nothing])[0][0], abs=1e-5)


def test_answers_keep_their_rows(model: RewardModel) -> None:
    found = score_answers(model, ROWS[:2], desc="judge", key="scores")
    for row, own in zip(ROWS[:2], found, strict=True):
        assert {name: value for name, value in own.items() if name != "scores"} == row
        assert own["scores"] == pytest.approx(one_by_one(model, row, row["samples"]), abs=1e-5)


def test_cuts_are_counted_while_rows_are_drawn(tmp_path: Path) -> None:
    short = tiny.reward_model(tmp_path / "backbone", max_length=8)
    write_rows(tmp_path / "samples.jsonl", ROWS)
    counts = Counter[str]()
    list(score_samples(short, tmp_path / "samples.jsonl", extra_answers=True, desc="", counts=counts))
    long = tiny.encoder(max_length=1000)
    texts = [(row["query"], [*row["samples"], *row.get("extra", {}).values()]) for row in ROWS]
    items = list(long.items(texts, Counter(), where="rows", allow_blank=True))
    assert counts["queries_cut"] == sum(item.longest > 8 for item in items) > 0
    assert counts["responses_cut"] == sum(len(r) > 7 for item in items for r in item.responses) > 0


# Measurement

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
    metrics, curve, *_ = measure(
        model,
        tmp_path / "test.jsonl",
        truth=tmp_path / "truth.json",
        bins=[10, 4],
        desc="test",
    )
    return metrics, curve, [one_by_one(model, row, row["responses"]) for row in COMPARISONS]


def test_metrics_by_hand(measured: Any) -> None:
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


def test_the_accuracy_of_each_type_by_hand(model: RewardModel, tmp_path: Path) -> None:
    types = ["harmless", "", "harmless"]
    rows = [{**row, "type": kind} for row, kind in zip(COMPARISONS, types, strict=True)]
    write_rows(tmp_path / "test.jsonl", rows)
    (tmp_path / "truth.json").write_text("{}")
    path, truth = tmp_path / "test.jsonl", tmp_path / "truth.json"
    metrics, *_ = measure(model, path, truth=truth, bins=[10], desc="test")
    rewards = [one_by_one(model, row, row["responses"]) for row in rows]
    right = [float(rewards[i][j] > rewards[k][m]) for (i, j), (k, m) in PAIRS]
    found = metrics["by_type"]
    assert {name: own["pairs"] for name, own in found.items()} == {"harmless": 3, "other": 1}
    assert found["harmless"]["accuracy"] == pytest.approx((right[0] + right[2] + right[3]) / 3)
    assert found["other"]["accuracy"] == right[1]
    assert found["other"]["accuracy_low"] < found["other"]["accuracy_high"]


def test_the_curve_has_the_first_number_of_bins(measured: Any) -> None:
    _, curve, _ = measured
    assert [row["lower"] for row in curve] == pytest.approx([0.5 + 0.05 * i for i in range(10)])
    assert sum(row["count"] for row in curve) == 4


def test_the_truth_by_hand(tmp_path: Path) -> None:
    model = tiny.reward_model(tmp_path / "backbone", max_length=200)
    world = World(seed=1)
    rows = list(world.comparisons(world.queries(12, "test", set()), 2.0, "test"))
    write_rows(tmp_path / "test.jsonl", rows)
    (tmp_path / "truth.json").write_text('{"temperature": 2.0}')
    metrics, *_ = measure(
        model, tmp_path / "test.jsonl", truth=tmp_path / "truth.json", bins=[10], desc="test"
    )
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
    for own, known in zip(rewards, true, strict=True):
        for i in range(len(own)):
            for j in range(len(own)):
                if known[i] > known[j]:
                    ordered += 1
                    agreed += own[i] > own[j]
    assert truth["agreement"] == pytest.approx(agreed / ordered)
    x, y = torch.tensor(flat(rewards)), torch.tensor(flat(true))
    x, y = x - x.mean(), y - y.mean()
    assert truth["correlation"] == pytest.approx((x @ y / (x.norm() * y.norm())).item(), abs=1e-5)


# What a stage checks after it has saved


def test_a_saved_model_is_verified(model: RewardModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", COMPARISONS)
    save_reward_model(model, tmp_path / "rm", tiny.CARD)
    found = verify(model, tmp_path / "rm", tmp_path / "test.jsonl")
    assert found == {"rows_compared": 3, "chat_template_equal": 3}


def test_a_saved_model_that_differs_is_found(model: RewardModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", COMPARISONS)
    other = tiny.reward_model(tmp_path / "backbone")
    with torch.no_grad():
        other.classifier.score.weight += 0.01
    save_reward_model(other, tmp_path / "rm", tiny.CARD)
    with pytest.raises(UserError, match=r"rewards that differ by .* after saving and loading"):
        verify(model, tmp_path / "rm", tmp_path / "test.jsonl")
    assert list(read_rows(tmp_path / "test.jsonl")) == COMPARISONS
    assert load_reward_model(tmp_path / "rm").encoder.pooling == "last"
