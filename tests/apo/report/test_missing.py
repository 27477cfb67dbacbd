"""apo/report/missing.py: stages that a run lacks or has from an earlier run are named, the rest is shown."""

from pathlib import Path
from typing import Any

from apo.core.config import read_all
from apo.core.records import write_json
from apo.report.missing import earlier_stages, missing_stages
from apo.report.page import build_page
from apo.report.run import read_run
from tests.helpers.report_run import ROOT, page_of, settings, text_of

LOCK: dict[str, Any] = {
    "stages": {
        "train": {
            "params": {"params.yaml": {"apo.coeff": 0.1, "rm": {"lr": 1}}},
            "deps": [{"path": "code.py", "md5": "c"}],
            "outs": [{"path": "model", "md5": "m"}],
        },
        "score": {"deps": [{"path": "model", "md5": "m"}], "outs": [{"path": "scores", "md5": "s"}]},
        "align": {"deps": [{"path": "scores", "md5": "s"}], "outs": []},
        "data": {"params": {"params.yaml": {"seed": 1}}, "outs": [{"path": "raw", "md5": "r"}]},
    }
}
NOW = {"apo": {"coeff": 0.1}, "rm": {"lr": 1}, "seed": 1}


def test_missing_stages_are_named_and_the_rest_is_shown(folder: Path) -> None:
    for name in ("metrics/r1/evaluate.json", "data/rjs/r1/apo.jsonl", "metrics/evaluate_test_rm.json"):
        Path(name).unlink()
    run = read_run(["r1"])
    assert missing_stages(run.metrics, ["r1"]) == ["evaluate_test_rm", "evaluate of round r1"]
    assert run.missing == ["data/rjs/r1/apo.jsonl"]
    text = text_of(page_of(run))
    for expected in (
        "This run is not whole",
        "stage evaluate of round r1: no metrics",
        "file data/rjs/r1/apo.jsonl",
        "no round of this run was evaluated",
        "Language models",
        "0.720 (0.650 to 0.750)",
    ):
        assert expected in text
    assert len(run.transcripts) == 15
    assert "APO RM" not in run.transcripts[0]["chosen"] and run.transcripts[0]["rewards"]["APO RM"]


def earlier(folder: Path, now: dict[str, Any], **train: Any) -> list[str]:
    stages = {**LOCK["stages"], "train": {**LOCK["stages"]["train"], **train}}
    write_json(folder / "dvc.lock", {"stages": stages})
    return earlier_stages(folder / "dvc.lock", now)


def test_earlier_stages_are_those_of_other_parameters_and_what_follows(tmp_path: Path) -> None:
    assert earlier(tmp_path, NOW) == []
    assert earlier(tmp_path, NOW | {"apo": {"coeff": 2.0}}) == ["train", "score", "align"]
    assert earlier(tmp_path, NOW | {"rm": {"lr": 2}, "seed": 2}) == ["train", "score", "align", "data"]
    assert earlier(tmp_path, {"seed": 1, "rm": {"lr": 1}}) == ["train", "score", "align"]


def test_earlier_stages_are_those_that_an_unfinished_run_has_not_reached(tmp_path: Path) -> None:
    """The RM is trained again, what it scored is that of the old one."""
    assert earlier(tmp_path, NOW, outs=[{"path": "model", "md5": "new"}]) == ["score", "align"]
    assert earlier_stages(tmp_path / "no.lock", NOW) == []


def test_the_committed_lock_is_of_the_committed_parameters() -> None:
    assert earlier_stages(ROOT / "dvc.lock", read_all(ROOT / "params.yaml")) == []


def test_a_page_names_the_stages_of_an_earlier_run(folder: Path) -> None:
    run = read_run(["r1"])
    page = build_page(run, [], run.transcripts, settings(), ["align@round0-apo"])
    assert "stage align@round0-apo: what is shown is of other parameters or inputs" in text_of(page)
