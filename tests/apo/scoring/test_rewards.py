"""apo/scoring/rewards.py: rewards alone, together, in order, in full, of samples and of answers."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
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


def test_rewards_of_ignores_budget_order_and_neighbors(
    model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tiny.random_items(2, [1, 4, 2, 8, 3, 1, 5, 2, 4, 4])
    expected = alone(model, items)
    assert torch.tensor(flat(expected)).std() > 0.01
    for budget in ("1", "50", "200", "16384"):
        monkeypatch.setenv("APO_TOKEN_BUDGET", budget)
        rewards = list(rewards_of(model, iter(items), desc=""))
        assert [len(row) for row in rewards] == [1, 4, 2, 8, 3, 1, 5, 2, 4, 4]
        assert flat(rewards) == pytest.approx(flat(expected), abs=1e-5)
    order = [7, 2, 9, 0, 5, 1, 8, 3, 6, 4]
    rewards = list(rewards_of(model, [items[i] for i in order], desc=""))
    assert flat(rewards) == pytest.approx(flat([expected[i] for i in order]), abs=1e-5)


def test_rewards_of_keeps_the_order_over_windows(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "WINDOW", 4)
    monkeypatch.setenv("APO_TOKEN_BUDGET", "60")
    items = tiny.random_items(4, [2] * 11)
    in_windows = list(rewards_of(model, iter(items), desc=""))
    assert flat(in_windows) == pytest.approx(flat(alone(model, items)), abs=1e-5)


def test_rewards_of_reads_a_stream_window_by_window(
    model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_rewards_of_refuses_a_reward_that_is_no_number(model: RewardModel, bad: float) -> None:
    with torch.no_grad():
        model.classifier.score.weight[0, 3] = bad
    with pytest.raises(UserError, match="score base: found a reward that is NaN or infinite"):
        list(rewards_of(model, tiny.random_items(1, [2]), desc="score base"))


def test_score_samples_writes_rewards_in_full(model: RewardModel) -> None:
    """Every float32 comes back from its text as it was."""
    item = tiny.random_items(1, [3])[0]
    [rewards] = rewards_of(model, [item], desc="")
    assert [torch.tensor(value).item() for value in json.loads(json.dumps(rewards))] == rewards
    assert any(abs(value) != round(abs(value), 6) for value in rewards)


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
def test_score_samples_gives_the_rewards_of_the_texts(
    model: RewardModel, tmp_path: Path, extra_answers: bool
) -> None:
    path, counts = tmp_path / "samples.jsonl", Counter[str]()
    write_rows(path, ROWS)
    scored = list(score_samples(model, path, extra_answers=extra_answers, desc="score", counts=counts))
    assert [row["query_id"] for row in scored] == ["a", "b", "c"]
    for row, scores in zip(ROWS, scored, strict=True):
        assert scores["scores"] == pytest.approx(one_by_one(model, row, row["samples"]), abs=1e-5)
    if extra_answers:
        assert scored[0]["extra"].keys() == {"hh_best", "golden"}
        expected = one_by_one(model, ROWS[0], ["12", "3, my friend."])
        assert [scored[0]["extra"][name] for name in ("hh_best", "golden")] == pytest.approx(
            expected, abs=1e-5
        )
        assert abs(expected[0] - expected[1]) > 1e-3
    assert ["extra" in row for row in scored] == [extra_answers, False, False]
    assert counts["items"] == (4 if extra_answers else 3)
    assert counts["responses"] == (9 if extra_answers else 7)
    assert counts["queries_cut"] == counts["responses_cut"] == 0


def test_score_samples_rates_a_blank_sample_as_an_empty_answer(model: RewardModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "samples.jsonl", ROWS)
    scored = list(
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
    assert scored[0]["scores"][1] == pytest.approx(alone(model, [nothing])[0][0], abs=1e-5)


def test_score_answers_keeps_the_rows(model: RewardModel) -> None:
    scored = score_answers(model, ROWS[:2], desc="score", key="scores", counts=Counter())
    for row, with_scores in zip(ROWS[:2], scored, strict=True):
        assert {name: value for name, value in with_scores.items() if name != "scores"} == row
        assert with_scores["scores"] == pytest.approx(one_by_one(model, row, row["samples"]), abs=1e-5)


def test_score_samples_rates_samples_alike_beside_a_long_extra_answer(tmp_path: Path) -> None:
    """Which would take the place of the query if it were in the same item."""
    short = tiny.reward_model(tmp_path / "backbone", max_length=16)
    row = ROWS[0] | {"extra": {"golden": "3, " * 40}}
    scores = []
    for extra_answers in (True, False):
        write_rows(tmp_path / "samples.jsonl", [row])
        (scored,) = score_samples(
            short, tmp_path / "samples.jsonl", extra_answers=extra_answers, desc="", counts=Counter()
        )
        scores.append(scored["scores"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_score_samples_counts_cuts_while_rows_are_drawn(tmp_path: Path) -> None:
    short = tiny.reward_model(tmp_path / "backbone", max_length=8)
    write_rows(tmp_path / "samples.jsonl", ROWS)
    counts = Counter[str]()
    list(score_samples(short, tmp_path / "samples.jsonl", extra_answers=True, desc="", counts=counts))
    long = tiny.encoder(max_length=1000)
    texts = [(row["query"], row["samples"]) for row in ROWS]
    texts += [(row["query"], list(row["extra"].values())) for row in ROWS if row.get("extra")]
    items = list(long.items(texts, Counter(), where="rows", allow_blank=True))
    assert counts["queries_cut"] == sum(item.longest > 8 for item in items) > 0
    assert counts["responses_cut"] == sum(len(r) > 7 for item in items for r in item.responses) > 0
