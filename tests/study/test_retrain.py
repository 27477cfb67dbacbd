"""study/retrain.py: the stages that are run again, and with what."""

from pathlib import Path
from typing import Any

import pytest

from study import pipeline, retrain
from study.play import Workspace


def test_choose_again_runs_training_evaluation_scores_and_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        retrain, "rerun", lambda stage, workspace, title, arguments: called.append((stage, dict(arguments)))
    )
    (tmp_path / "params.yaml").write_text("seed: 1\nrm:\n  lr: 0.1\n", encoding="utf-8")
    folder = tmp_path / "again"
    folder.mkdir()
    selected, pairs = folder / "selected.jsonl", folder / "pairs.jsonl"
    metrics = retrain.choose_again(
        "apo",
        Workspace(tmp_path, tmp_path),
        folder,
        selected,
        title="again",
        changes={"seed": 7, "rm.lr": 0.2},
        arguments={"adversarial_pairs": pairs},
    )
    stages = [stage for stage, _ in called]
    assert stages == [pipeline.TRAIN_RM["apo"], pipeline.EVALUATE_RM, pipeline.SCORE, pipeline.SELECT]
    train, evaluate, score, select = (arguments for _, arguments in called)
    assert train["adversarial_pairs"] == pairs
    assert train["params"] == folder / "params.yaml"
    assert (folder / "params.yaml").read_text(encoding="utf-8") == "seed: 7\nrm:\n  lr: 0.2\n"
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == "seed: 1\nrm:\n  lr: 0.1\n"
    assert train["out"] == evaluate["model"] == score["model"]
    assert evaluate["metrics"] == score["evaluation"] == metrics
    assert select == {"scores": score["out"], "out": selected, "metrics": folder / "rjs.json"}
