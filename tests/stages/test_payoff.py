"""payoff: both RMs of a round rate the answers of every LLM; the base RM once for all rounds."""

import csv
import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import stages.payoff
from apo.core.records import read_rows, write_rows
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.scoring.rewards import score_answers
from tests.helpers import tiny_models as tiny

ANSWERS = {
    "golden": ["A good dog.", "nine"],
    "actor": ["bad", "seven"],
    "llm_apo_r1": ["A good day.", ""],
}


def rows_of(llm: str, *, truth: bool) -> list[dict[str, Any]]:
    texts = ANSWERS[llm]
    rows = [{"query_id": str(n), "query": tiny.query(f"{n}?"), "samples": [t]} for n, t in enumerate(texts)]
    return [row | {"true_rewards": [1.0]} for row in rows] if truth else rows


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two reward models and the answers of three language models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    for seed, name in enumerate(("base", "apo")):
        save_reward_model(tiny.reward_model(Path("backbone"), seed=seed), Path(name), tiny.CARD)
    for llm in ANSWERS:
        write_rows(Path(f"answers/{llm}.jsonl"), rows_of(llm, truth=True))
    Path("params.yaml").write_text(json.dumps({"seed": 1, "evaluate": {"bootstrap": 100}}))
    return tmp_path


def play(round: str = "r1") -> dict[str, Any]:
    """Runs the stage; the metrics."""
    names = ("base", "apo", "answers", f"{round}.jsonl", f"{round}_curves", "metrics.json")
    stages.payoff.main(round, *map(Path, names))
    metrics: dict[str, Any] = json.loads(Path("metrics.json").read_text())
    assert metrics.keys() == {f"payoff_{round}"}
    rows: dict[str, Any] = metrics[f"payoff_{round}"]
    return rows


def test_payoff_is_the_mean_reward_of_each_rm_for_each_llm(repository: Path) -> None:
    payoff = play()
    assert payoff.keys() == {"base_rm", "apo_rm_r1"}
    for name, folder in (("base_rm", "base"), ("apo_rm_r1", "apo")):
        model = load_reward_model(Path(folder)).eval()
        assert payoff[name].keys() == ANSWERS.keys()
        for llm, row in payoff[name].items():
            rated = score_answers(model, rows_of(llm, truth=False), desc="", key="rewards", counts=Counter())
            assert row["reward_mean"] == pytest.approx(fmean(one["rewards"][0] for one in rated), abs=1e-6)
        assert "gain" not in payoff[name]["actor"]
        for llm in ANSWERS.keys() - {"actor"}:
            row = payoff[name][llm]
            gain = row["reward_mean"] - payoff[name]["actor"]["reward_mean"]
            assert row["gain"] == pytest.approx(gain, abs=1e-6)
            assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert payoff["base_rm"] != payoff["apo_rm_r1"]
    assert list(read_rows(Path("r1.jsonl"))) == [
        {"rm": rm, "llm": llm, **row} for rm, of in payoff.items() for llm, row in of.items()
    ]


def test_payoff_curves_hold_every_answer_once(repository: Path) -> None:
    play()
    for rm in ("base_rm", "apo_rm"):
        with Path(f"r1_curves/{rm}/golden_samples.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        counts = {kind: sum(int(r["count"]) for r in rows if r["kind"] == kind) for kind in ANSWERS}
        assert counts == dict.fromkeys(ANSWERS, 2)
        with Path(f"r1_curves/{rm}/truth.csv").open() as stream:
            assert sum(int(row["count"]) for row in csv.DictReader(stream)) > 0


def test_payoff_without_a_truth_writes_an_empty_curve(repository: Path) -> None:
    for llm in ANSWERS:
        write_rows(Path(f"answers/{llm}.jsonl"), rows_of(llm, truth=False))
    play()
    with Path("r1_curves/base_rm/truth.csv").open() as stream:
        assert list(csv.DictReader(stream)) == []


def test_payoff_of_another_round_reuses_the_rewards_of_the_base_rm(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a killed stage those that it had computed."""
    first = play()
    rated: list[str] = []

    def counting(*arguments: Any, **named: Any) -> Any:
        rated.append(named["desc"])
        return score_answers(*arguments, **named)

    before = {
        path: path.read_bytes() for path in Path(".cache/checkpoints").glob("payoff_base_rm-*/chunks.jsonl")
    }
    monkeypatch.setattr(stages.payoff, "score_answers", counting)
    again = play("r2")
    assert again["base_rm"] == first["base_rm"] and again["apo_rm_r2"] == first["apo_rm_r1"]
    assert {desc.split(" of ")[0] for desc in rated} == {"base_rm", "apo_rm_r2"}
    after = {
        path: path.read_bytes() for path in Path(".cache/checkpoints").glob("payoff_base_rm-*/chunks.jsonl")
    }
    assert after == before and len(before) == 1
