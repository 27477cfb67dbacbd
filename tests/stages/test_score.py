"""score: the gate stands before the scoring; its limit touches no reward."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.score
from apo.core.errors import UserError
from apo.core.records import read_rows, write_json, write_rows
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.scoring.rewards import rewards_of
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ECE = 0.1234
SAMPLES = [
    {"query_id": "a", "query": tiny.query("Who?"), "samples": ["me", "you"]},
    {"query_id": "b", "query": tiny.query("Why?"), "samples": ["so", " "]},
]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a reward model, its evaluation and samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    save_reward_model(tiny.reward_model(Path("backbone")), Path("rm"), tiny.CARD)
    write_rows(Path("samples.jsonl"), SAMPLES)
    record = {"pairs": 9, "ece_5": 0.2, "ece_10": ECE}
    write_json(Path("evaluation.json"), {"base_rm": {"calibration": record}})
    return tmp_path


def score(max_ece: float, bins: int = 10) -> dict[str, Any]:
    """Runs the stage with a gate; the metrics."""
    gate = {"max_ece": max_ece, "bins": bins}
    Path("params.yaml").write_text(json.dumps({"score": PARAMS["score"], "gate": gate}))
    names = ("rm", "evaluation.json", "samples.jsonl", "scores.jsonl", "metrics.json")
    stages.score.main("base_r1", *map(Path, names))
    metrics: dict[str, Any] = json.loads(Path("metrics.json").read_text())["score_base_r1"]
    return metrics


def test_score_writes_the_reward_of_every_sample_in_full(repository: Path) -> None:
    counts = score(1.0)
    assert (counts["items"], counts["responses"]) == (2, 4)
    model = load_reward_model(Path("rm")).eval()
    texts = [(row["query"], row["samples"]) for row in SAMPLES]
    items = list(model.encoder.items(texts, stages.score.Counter(), where="", allow_blank=True))
    assert [row["query_id"] for row in read_rows(Path("scores.jsonl"))] == ["a", "b"]
    for row, rewards in zip(read_rows(Path("scores.jsonl")), rewards_of(model, items, desc=""), strict=True):
        assert row["scores"] == pytest.approx(rewards, abs=1e-6)


def test_score_gives_the_same_rewards_at_any_limit_of_the_gate(repository: Path) -> None:
    passed = score(ECE)
    assert (passed["max_ece"], passed["valid_ece"]) == (ECE, ECE)
    scores = Path("scores.jsonl").read_bytes()
    open_ = score(1.0, bins=8)  # an open gate asks for no ECE
    assert open_ == {name: value for name, value in passed.items() if name != "valid_ece"} | {"max_ece": 1.0}
    assert Path("scores.jsonl").read_bytes() == scores


def test_score_stops_at_the_gate_before_it_scores(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.score, "score_samples", lambda *_, **__: pytest.fail("scored"))
    monkeypatch.setattr(stages.score, "load_reward_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match=r"^rm: found an ECE of 0\.123 on valid \(10 bins, 9 pairs\)"):
        score(ECE - 1e-9)
    with pytest.raises(
        UserError, match=r"^evaluation\.json: found no ECE on valid with 8 bins, but with 5, 10"
    ):
        score(0.999, bins=8)
    Path("evaluation.json").unlink()
    with pytest.raises(UserError, match=r"^evaluation\.json: found no such file"):
        score(1.0)
    assert not Path("scores.jsonl").exists() and not Path("metrics.json").exists()
