"""evaluate_rm: a reward model measured on test, its temperature fitted on valid; a killed one goes on."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stages.evaluate_rm
from apo.core.records import read_rows, write_json, write_rows
from apo.evaluation.evaluate_rm import measure, rate_comparisons
from apo.evaluation.rm_calibration import calibrate
from apo.metrics.calibration import calibration_error
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.model.reward_model import RewardModel
from tests.helpers import tiny_models as tiny
from tests.helpers.ranks import run_ranks

WORDS = ["good", "bad", "3", "7", "dog", "fox", "lazy", "day", "my friend", "nobody"]
SIZES = {"valid": 20, "test": 12}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a reward model and comparisons."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    monkeypatch.setenv("APO_TOKEN_BUDGET", "100")  # so that there are several pieces
    save_reward_model(tiny.reward_model(Path("backbone")), Path("rm"), tiny.CARD)
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        labels = ([1.0, 0.0, 0.0], [2.0, 1.0, 1.0])
        rows = [
            {
                "query_id": f"{name}-{number}",
                "query": tiny.query(f"{name} {number}?"),
                "responses": [str(word) for word in rng.permutation(WORDS)[:3]],
                "scores": labels[number % 2],
                "type": "",
            }
            for number in range(size)
        ]
        write_rows(Path(f"{name}.jsonl"), rows)
    write_json(Path("truth.json"), {})
    set_bins(5, 10)
    return tmp_path


def set_bins(*bins: int) -> None:
    settings = {"seed": 1, "evaluate_rm": {"calibration_bins": bins, "bootstrap": 100}}
    Path("params.yaml").write_text(json.dumps(settings))


def evaluate(*, valid: bool = True) -> dict[str, Any]:
    """Runs the stage; the metrics."""
    files = {"valid": Path("valid.jsonl")} if valid else {}
    stages.evaluate_rm.main(
        "rm", Path("rm"), Path("test.jsonl"), Path("truth.json"), Path("out"), Path("metrics.json"), **files
    )
    content: dict[str, Any] = json.loads(Path("metrics.json").read_text())
    assert content.keys() == {"rm"}
    metrics: dict[str, Any] = content["rm"]
    return metrics


def curve(name: str) -> list[dict[str, str]]:
    with Path(f"out/{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_evaluate_rm_measures_before_and_after_the_temperature_of_valid(repository: Path) -> None:
    metrics = evaluate()
    model = load_reward_model(Path("rm")).eval()
    on = {
        name: measure(
            rate_comparisons(model, Path(f"{name}.jsonl"), desc=""), truth=Path("truth.json"), bins=[5, 10]
        )
        for name in SIZES
    }
    expected = calibrate(on["valid"], bins=[5, 10], seed=1, resamples=100, desc="rm")
    assert metrics["calibration"].pop("fitted_on") == expected.pop("fitted_on") == "valid"
    assert metrics["calibration"] == pytest.approx(expected, rel=1e-3)
    assert expected["pairs"] == 2 * SIZES["valid"] == 2 * expected["comparisons"]
    assert metrics["valid"] == pytest.approx(
        on["valid"].metrics, rel=1e-4
    )  # where it was fitted it says nothing
    chosen, rejected = on["test"].chosen, on["test"].rejected
    p = 1 / (1 + np.exp(-(chosen - rejected) / metrics["calibration"]["temperature"]))
    after = metrics["test"].pop("calibrated")
    assert metrics["test"] == pytest.approx(on["test"].metrics, rel=1e-4)
    assert after["nll"] == pytest.approx(-np.log(p).mean(), rel=1e-4)
    assert after["brier"] == pytest.approx(((1 - p) ** 2).mean(), rel=1e-4)
    labels = [1.0] * p.size + [0.0] * p.size
    ece = calibration_error(labels, np.concatenate([p, 1 - p]), 10).ece
    assert after["ece_10"] == pytest.approx(ece, abs=1e-3)
    kinds = [
        f"{kind}{side}_{n}" for kind in ("ece", "ace", "mce") for side in ("", "_onesided") for n in (5, 10)
    ]
    assert after.keys() == {"nll", "brier", *kinds}

    raw, scaled = curve("reliability"), curve("reliability_calibrated")
    assert raw[0].keys() == scaled[0].keys()
    assert {row["split"] for row in raw} == {"test", "valid"}
    assert {row["split"] for row in scaled} == {"test"}
    # The bins of the scaled one hold sigma(|m| / T): five of width 0.1 from 0.5 on.
    sides = np.histogram(np.maximum(p, 1 - p), np.linspace(0.5, 1.0, 6))[0]
    assert [int(row["count"]) for row in scaled] == sides.tolist()
    assert sum(int(row["pairs"]) for row in curve("margins")) == p.size == 2 * SIZES["test"]
    assert sum(int(row["count"]) for row in curve("rewards") if row["kind"] == "chosen") == p.size


def test_evaluate_rm_without_valid_fits_no_temperature(repository: Path) -> None:
    metrics = evaluate(valid=False)
    assert metrics.keys() == {"test", "calibration"}
    assert metrics["calibration"] == {"fitted_on": "nothing"}
    assert "calibrated" not in metrics["test"]
    files = {"reliability.csv", "rewards.csv", "margins.csv", "right.jsonl"}
    assert {path.name for path in Path("out").iterdir()} == files
    assert {row["split"] for row in curve("reliability")} == {"test"}


def test_evaluate_rm_writes_the_right_pairs_of_each_query(repository: Path) -> None:
    metrics = evaluate()
    rows = list(read_rows(Path("out/right.jsonl")))
    assert [row["query_id"] for row in rows] == [f"test-{number}" for number in range(SIZES["test"])]
    assert all(row["pairs"] == 2 for row in rows)
    right = sum(row["right"] for row in rows)
    assert right / metrics["test"]["pairs"] == pytest.approx(metrics["test"]["accuracy"])


class Killed(Exception):
    """Stands for the end of the process."""


def counted(monkeypatch: pytest.MonkeyPatch, *, kill_after: int = 10**9) -> list[int]:
    """How many items each call of the model rates; the process ends after so many calls."""
    calls: list[int] = []
    rate = RewardModel.rewards

    def counting(self: RewardModel, items: Any) -> torch.Tensor:
        if len(calls) == kill_after:
            raise Killed
        calls.append(len(items))
        return rate(self, items)

    monkeypatch.setattr(RewardModel, "rewards", counting)
    return calls


def test_evaluate_rm_resumes_after_a_kill(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        whole = counted(patch)
        expected = evaluate()
    assert sum(whole) == SIZES["valid"] + SIZES["test"] and len(whole) > 6
    files = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    for path in Path(".cache/checkpoints").glob("evaluate_rm-*/chunks.jsonl"):
        path.unlink()
    Path("metrics.json").unlink()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        counted(patch, kill_after=4)
        evaluate()
    assert not Path("metrics.json").exists()
    with monkeypatch.context() as patch:
        again = counted(patch)
        assert evaluate() == expected
    assert again == whole[4:]
    assert "resumes after chunk 4" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == files


def test_evaluate_rm_with_other_bins_computes_no_reward_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = evaluate()
    calls = counted(monkeypatch)
    set_bins(10, 4)
    metrics = evaluate()
    assert calls == []
    assert metrics["test"]["ece_10"] == before["test"]["ece_10"] and "ece_5" not in metrics["test"]
    assert "ece_4" in metrics["test"] and "ece_4_low" in metrics["calibration"]


def test_evaluate_rm_shares_rows_between_two_ranks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And both measure all of it."""
    with monkeypatch.context() as patch:
        whole = counted(patch)
        expected = evaluate()
    [folder] = Path(".cache/checkpoints").glob("evaluate_rm-*")
    (folder / "chunks.jsonl").write_bytes(b"")
    calls = counted(monkeypatch)
    assert run_ranks(monkeypatch, 2, evaluate) == [expected] * 2
    assert sorted(calls) == sorted(whole)
    assert evaluate() == expected
    assert len(calls) == len(whole)  # one process finds it all
