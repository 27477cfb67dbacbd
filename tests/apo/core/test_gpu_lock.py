"""apo/core/gpu_lock.py: N stages on M GPUs, of which no two ever have the same one."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.played_repo import dvc, git
from tests.helpers.small_repo import ROOT, run

# A stage that tells what it sees. It imports an empty module of the name `torch`, unless it is a light one.
STAGE = """\
import json, os, sys, time
from pathlib import Path

if "light" not in sys.argv[2]:
    import torch
from apo.core.stage import run


def main(name: str, seconds: str, out: Path, params: Path = Path("params.yaml")) -> None:
    seen = {"name": name, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid()}
    seen["start"] = time.monotonic()
    with out.open("a") as log:
        log.write("" if name == "queued" else json.dumps(seen) + "\\n")
    if name == "parent":
        os.spawnl(os.P_WAIT, sys.executable, sys.executable, *sys.argv[:1], "--name", "child", *sys.argv[3:])
    time.sleep(float(seconds))
    with Path(os.environ["LOG"]).open("a") as log:
        log.write(json.dumps(seen | {"end": time.monotonic()}) + "\\n")


if __name__ == "__main__":
    run(main)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the toy stage, from which the project is imported, and an empty `torch`."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "toy.py").write_text(STAGE)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "torch.py").write_text("")
    return tmp_path / "repository"


def environment(repository: Path, **more: str) -> dict[str, str]:
    """Of a stage; locks and log are those of the test."""
    above = repository.parent
    (above / "tmp").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("APO_", "CUDA_"))}
    return kept | {
        "PYTHONPATH": f"{above / 'library'}{os.pathsep}{ROOT}",
        "TMPDIR": str(above / "tmp"),
        "LOG": str(above / "log"),
        **more,
    }


def start(repository: Path, name: str, seconds: float = 0.3, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "toy.py", "--name", name, "--seconds", str(seconds), "--out", f"{name}.jsonl"]
    return subprocess.Popen(
        command, cwd=repository, env=environment(repository, **more), stderr=subprocess.PIPE, text=True
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def at_once(log: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The names of those that had the same GPU at one time."""
    return [
        (a["name"], b["name"])
        for a, b in combinations(log, 2)
        if a["gpu"] == b["gpu"] and a["start"] < b["end"] and b["start"] < a["end"]
    ]


def wait_until_started(repository: Path, name: str) -> dict[str, Any]:
    for _ in range(600):
        if seen := lines(repository / f"{name}.jsonl"):
            return seen[0]
        time.sleep(0.05)
    raise AssertionError(f"{name} did not start")


def test_seven_stages_on_three_gpus_share_none(repository: Path) -> None:
    gpus = "0, 3,GPU-8932f937"
    stages = [start(repository, f"s{number}", APO_GPUS=gpus) for number in range(7)]
    stderr = [stage.communicate(timeout=120)[1] for stage in stages]
    assert [stage.returncode for stage in stages] == [0] * 7, stderr
    log = lines(repository.parent / "log")
    assert len(log) == 7
    assert {seen["gpu"] for seen in log} == {"0", "3", "GPU-8932f937"}
    assert not at_once(log)
    assert any(line == "waiting for a GPU: 0, 3, GPU-8932f937 are taken\n" for line in stderr)


def test_the_sharing_that_this_looks_for_is_found(repository: Path) -> None:
    """Without APO_GPUS all see the same ones."""
    stages = [start(repository, name, 2.0, CUDA_VISIBLE_DEVICES="0,1") for name in ("a", "b")]
    for stage in stages:
        assert not stage.communicate(timeout=60)[1]
    log = lines(repository.parent / "log")
    assert [seen["gpu"] for seen in log] == ["0,1", "0,1"]
    assert len(at_once(log)) == 1


def test_a_killed_stage_gives_its_gpu_back(repository: Path) -> None:
    first = start(repository, "first", 60, APO_GPUS="5")
    assert wait_until_started(repository, "first") | {"gpu": "5", "pid": first.pid} == wait_until_started(
        repository, "first"
    )
    second = start(repository, "second", 0, APO_GPUS="5")
    assert second.stderr is not None
    assert second.stderr.readline() == "waiting for a GPU: 5 are taken\n"
    assert not (repository / "second.jsonl").exists()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.wait(timeout=60) == 0
    second.stderr.close()
    assert [seen["gpu"] for seen in lines(repository / "second.jsonl")] == ["5"]


def test_what_a_stage_starts_sees_the_gpu_of_the_stage(repository: Path) -> None:
    """As the processes of one training do; it does not wait for its own parent."""
    stage = start(repository, "parent", APO_GPUS="7,8")
    assert stage.communicate(timeout=60)[1] == ""
    assert {(seen["name"], seen["gpu"]) for seen in lines(repository.parent / "log")} == {
        ("parent", "7"),
        ("child", "7"),
    }


@pytest.mark.parametrize("more", [{"name": "light"}, {"APO_DEVICE": "cpu"}], ids=["no torch", "cpu"])
def test_a_stage_that_needs_none_takes_none(repository: Path, more: dict[str, str]) -> None:
    """It neither waits for one, nor is anything set."""
    holder = start(repository, "holder", 60, APO_GPUS="0")
    wait_until_started(repository, "holder")
    other = start(repository, **{"name": "other", "APO_GPUS": "0"} | more)
    assert other.communicate(timeout=60)[1] == ""
    holder.kill()
    holder.communicate()
    assert [seen["gpu"] for seen in lines(repository.parent / "log")] == [None]


@pytest.mark.parametrize("gpus", ["0,,1", "0,1,0", ","])
def test_a_list_that_is_none_ends_in_one_line(repository: Path, gpus: str) -> None:
    stage = start(repository, "wrong", APO_GPUS=gpus)
    stderr = stage.communicate(timeout=60)[1]
    assert stage.returncode == 1
    assert (
        stderr.startswith(f"error: APO_GPUS: found {gpus!r}; expected distinct GPUs")
        and "\n" not in stderr[:-1]
    )


@pytest.mark.parametrize("name", ["any", "light"])
def test_a_launcher_beside_it_is_told_by_the_first_stage(repository: Path, name: str) -> None:
    stage = start(repository, name, APO_GPUS="0,1", APO_LAUNCH="torchrun --nproc_per_node 2")
    stderr = stage.communicate(timeout=60)[1]
    assert stage.returncode == 1 and not lines(repository.parent / "log")
    assert stderr.startswith(
        "error: APO_GPUS: found APO_LAUNCH='torchrun --nproc_per_node 2' beside it; expected"
    )
    assert stderr.count("\n") == 1


def test_a_launcher_on_the_cpu_needs_none_of_the_gpus(repository: Path) -> None:
    stage = start(repository, "any", APO_GPUS="0", APO_DEVICE="cpu", APO_LAUNCH="torchrun")
    assert stage.communicate(timeout=60)[1] == "" and stage.returncode == 0


def test_a_folder_that_can_not_be_used_is_told(repository: Path) -> None:
    (repository.parent / "tmp").mkdir()
    (repository.parent / "tmp" / f"apo-gpus-{os.getuid()}").write_text("a file")
    stage = start(repository, "wrong", APO_GPUS="0")
    stderr = stage.communicate(timeout=60)[1]
    assert stage.returncode == 1 and "expected a folder for one small file per GPU" in stderr
    assert "Traceback" not in stderr


QUEUED = """\
stages:
  toy:
    cmd: python toy.py --name queued --seconds 1.5 --out out.jsonl
    params: [coeff]
    deps: [toy.py]
    outs: [out.jsonl]
"""


@pytest.mark.slow
def test_a_queue_of_six_tasks_on_two_gpus(repository: Path) -> None:
    """`dvc queue start -j 3`: three tasks at a time in one environment, on two GPUs."""
    (repository / "dvc.yaml").write_text(QUEUED)
    (repository / "params.yaml").write_text("coeff: 1\n")
    git(repository, "init", "-q")
    run(["dvc", "init", "-q"], repository)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "toy")
    env = environment(repository, APO_GPUS="0,1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{env.pop('PATH')}"
    dvc(repository, "exp", "run", "--queue", "-S", "coeff=1,2,3,4,5,6", **env)
    command = ["dvc", "queue", "start", "-j", "3"]
    nowhere: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=repository, env=env | {"PATH": path}, check=True, **nowhere)
    for _ in range(200):
        if len(lines(repository.parent / "log")) == 6:
            break
        time.sleep(1)
    status = dvc(repository, "queue", "status")
    log = lines(repository.parent / "log")
    assert len(log) == 6, status
    assert {seen["gpu"] for seen in log} == {"0", "1"}
    assert not at_once(log)
