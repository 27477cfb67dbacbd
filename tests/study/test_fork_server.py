"""study/fork_server.py: a forked stage computes what `python -m` computes, and fails as it does."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from study import play
from study.fork_server import ForkServer
from tests.helpers.played_repo import stages, written
from tests.helpers.small_repo import copy_repository, run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fork_server_stages_write_the_same_bytes(tmp_path: Path) -> None:
    locked = []
    for name in ("plain", "forked"):
        repository = copy_repository(tmp_path / name)
        run(["dvc", "init", "-q", "-f"], repository)
        if name == "plain":
            done = run(["dvc", "repro", "train_base_rm"], repository, APO_THREADS="1", OMP_NUM_THREADS="1")
        else:
            with ForkServer() as server:
                path = str(play.environment(server.folder)["PATH"])
                command = ["env", f"PATH={path}", "dvc", "repro", "train_base_rm"]
                done = run(command, repository, APO_THREADS="1")
        assert done.returncode == 0, done.stdout + done.stderr
        lock = YAML(typ="safe").load((repository / "dvc.lock").read_text(encoding="utf-8"))
        locked.append({out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]})
    assert locked[0] == locked[1]
    four = [stages(repository)[name] for name in ("data", "split", "backbone", "train_base_rm")]
    assert locked[0].keys() == {out for stage in four for out in written(stage)}


@pytest.mark.slow
def test_fork_server_reports_a_stage_that_fails(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path, {"data": {"demo": {"temperature": -1.0}}})
    with ForkServer() as server:
        path = str(play.environment(server.folder)["PATH"])
        done = run(["env", f"PATH={path}", "dvc", "repro", "data"], repository)
    assert done.returncode
    assert "error: params.yaml: data.demo.temperature" in done.stdout + done.stderr
