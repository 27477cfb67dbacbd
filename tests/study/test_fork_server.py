"""study/fork_server.py: a forked stage computes and fails as `python -m` does, and ends with its client."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from study import play
from study.fork_server import ForkServer
from tests.helpers.played_repo import stages, written
from tests.helpers.small_repo import copy_repository, run


def hashes(repository: Path) -> dict[str, str]:
    """The hashes of the outputs of all stages that ran, from dvc.lock."""
    lock = YAML(typ="safe").load((repository / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fork_server_stages_write_the_same_bytes(game: Path, tmp_path: Path) -> None:
    repository = copy_repository(tmp_path)
    with ForkServer() as server:
        path = str(play.environment(server.folder)["PATH"])
        done = run(["env", f"PATH={path}", "dvc", "repro", "train_base_rm"], repository)
    assert done.returncode == 0, done.stdout + done.stderr
    forked, played = hashes(repository), hashes(game)
    four = [stages(repository)[name] for name in ("data", "split", "backbone", "train_base_rm")]
    assert forked.keys() == {out for stage in four for out in written(stage)}
    assert forked == {name: played[name] for name in forked}


@pytest.mark.slow
def test_fork_server_reports_a_stage_that_fails(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path, {"data": {"demo": {"temperature": -1.0}}})
    with ForkServer() as server:
        path = str(play.environment(server.folder)["PATH"])
        done = run(["env", f"PATH={path}", "dvc", "repro", "data"], repository)
    assert done.returncode
    assert "error: params.yaml: data.demo.temperature" in done.stdout + done.stderr


@pytest.mark.slow
def test_fork_server_ends_a_stage_whose_client_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    lines = [
        "import os, pathlib, time",
        "pathlib.Path('pid').write_text(str(os.getpid()))",
        "time.sleep(600)",
    ]
    (tmp_path / "stages/slow.py").write_text("\n".join(lines), encoding="utf-8")
    with ForkServer() as server:
        client = subprocess.Popen([server.folder / "python", "-m", "stages.slow"], cwd=tmp_path)
        pid = int(_wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text()))
        client.kill()
        client.wait()
        assert _wait_for(lambda: not psutil.pid_exists(pid))


def _wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition gives when it is true; fails after a minute."""
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value
