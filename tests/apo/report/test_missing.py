"""apo/report/missing.py: stages that a run lacks or has from an earlier run are named, the rest is shown."""

import copy
import hashlib
import json
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
        "train_base_rm": {
            "params": {"params.yaml": {"apo.coeff": 0.1, "rm": {"lr": 1}}},
            "deps": [{"path": "code.py", "md5": "c"}],
            "outs": [{"path": "model", "md5": "m"}],
        },
        "payoff": {"deps": [{"path": "model", "md5": "m"}], "outs": [{"path": "gains", "md5": "s"}]},
        "plots": {"deps": [{"path": "gains", "md5": "s"}], "outs": []},
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
    stages = {**LOCK["stages"], "train_base_rm": {**LOCK["stages"]["train_base_rm"], **train}}
    write_json(folder / "dvc.lock", {"stages": stages})
    return earlier_stages(folder / "dvc.lock", now)


def test_earlier_stages_are_those_of_other_parameters_and_what_follows(tmp_path: Path) -> None:
    assert earlier(tmp_path, NOW) == []
    assert earlier(tmp_path, NOW | {"apo": {"coeff": 2.0}}) == [*LOCK["stages"]][:3]
    assert earlier(tmp_path, NOW | {"rm": {"lr": 2}, "seed": 2}) == [*LOCK["stages"]]
    assert earlier(tmp_path, {"seed": 1, "rm": {"lr": 1}}) == [*LOCK["stages"]][:3]


def test_earlier_stages_are_those_that_an_unfinished_run_has_not_reached(tmp_path: Path) -> None:
    """The RM is trained again, what it scored is that of the old one."""
    assert earlier(tmp_path, NOW, outs=[{"path": "model", "md5": "new"}]) == ["payoff", "plots"]
    assert earlier_stages(tmp_path / "no.lock", NOW) == []


def test_the_committed_lock_is_of_the_committed_parameters() -> None:
    assert earlier_stages(ROOT / "dvc.lock", settings()) == []


def test_earlier_stages_are_those_behind_the_folders_that_data_and_split_write() -> None:
    """Readers declare files inside, and the stage `tables` the folder above the curves."""
    game = [name for name in read_all(ROOT / "dvc.lock")["stages"] if name not in ("data", "split")]
    now = settings()
    now["split"]["rm_fraction"] = 0.5
    assert earlier_stages(ROOT / "dvc.lock", now) == ["split", *game]
    now = settings()
    now["data"]["demo"]["comparisons"] = 8000
    assert earlier_stages(ROOT / "dvc.lock", now) == ["data", "split", *game]
    now = settings()
    now["evaluate_rm"]["bootstrap"] = 1
    assert {"evaluate_base_rm", "tables@round0", "plots"} <= {*earlier_stages(ROOT / "dvc.lock", now)}


def in_folder(folder: Path) -> list[str]:
    """Of a lock in which `split` wrote a folder anew that two stages have read a file of."""
    readers = {"golden": "queries", "test_rm": "pairs"}
    stages = {
        name: {"deps": [{"path": f"data/split/{file}", "md5": hashlib.md5(file.encode()).hexdigest()}]}
        for name, file in readers.items()
    }
    split = {"outs": [{"path": "data/split", "md5": "new.dir"}, {"path": "data/split.json", "md5": "j"}]}
    write_json(folder / "dvc.lock", {"stages": {"split": split, **stages}})
    return earlier_stages(folder / "dvc.lock", {})


def test_earlier_stages_compare_a_file_inside_a_folder_with_the_cache_or_itself(tmp_path: Path) -> None:
    assert in_folder(tmp_path) == []  # neither is there
    (tmp_path / "data/split").mkdir(parents=True)
    for name, content in (("queries", "queries"), ("pairs", "other")):
        (tmp_path / "data/split" / name).write_text(content)
    assert in_folder(tmp_path) == ["test_rm"]
    listing = tmp_path / ".dvc/cache/files/md5/ne/w.dir"
    listing.parent.mkdir(parents=True)
    listing.write_text(json.dumps([{"relpath": name, "md5": "other"} for name in ("queries", "pairs")]))
    assert in_folder(tmp_path) == ["golden", "test_rm"]


def test_earlier_stages_leave_out_stages_that_there_are_no_longer(tmp_path: Path) -> None:
    """DVC keeps the entries of a round that was taken out, and of a stage that was renamed."""
    lock = copy.deepcopy(read_all(ROOT / "dvc.lock"))
    old = {"params": {"params.yaml": {"seed": 2}}, "outs": [{"path": "models/backbone", "md5": "old"}]}
    lock["stages"] |= dict.fromkeys(("align@round1-base", "tables@round1", "renamed", "renamed@round0"), old)
    write_json(tmp_path / "dvc.lock", lock)
    assert earlier_stages(tmp_path / "dvc.lock", settings()) == []
    two = settings()
    two["rounds"].append({"id": "r2", "prev": "r1"})
    assert {"align@round1-base", "tables@round1"} <= {*earlier_stages(tmp_path / "dvc.lock", two)}


def test_a_page_names_the_stages_of_an_earlier_run(folder: Path) -> None:
    run = read_run(["r1"])
    page = build_page(run, [], run.transcripts, settings(), ["align@round0-apo"])
    assert "stage align@round0-apo: what is shown is of other parameters or inputs" in text_of(page)
