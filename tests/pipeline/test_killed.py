"""A stage killed anywhere ends, run again, in the bytes of one that nobody killed, and never starts over."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors import safe_open

from tests.helpers.played_repo import dvc, git, stages
from tests.helpers.small_repo import run
from tests.pipeline.test_hermetic import copy_declared, files_below, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CHECKPOINTS = {
    "backbone": "backbone",
    "actor": "actor",
    "train_base_rm": "base_rm",
    "train_apo_rm@round0": "apo_rm_r1",
    "test_rm": "test_rm",
    "align@round0-base": "align_base_r1",
    "align@round0-apo": "align_apo_r1",
    "sample_rm@round0": "sample_rm",
    "sample@round0-apo": "sample_llm",
    "score_base@round0": "score_base_r1",
    "score@round0": "score_apo_r1",
    "answer@round0-apo": "answer_llm_apo_r1",
    "payoff@round0": "payoff_r1",
}
"""The stages that take long, with the name under which each keeps what it has done so far."""

KILLS = 3  # of each of the 13
OFTEN = {"APO_CHECKPOINT_SECONDS": "0", "APO_SAMPLE_BUDGET": "2000", "APO_TOKEN_BUDGET": "2000"}


def checkpoints_of(repository: Path, stage: str) -> list[Path]:
    """The folders in which a stage keeps what it has done so far."""
    return sorted((repository / ".cache" / "checkpoints").glob(f"{CHECKPOINTS[stage]}-*"))


def progress_of(folder: Path) -> int:
    """Steps or pieces that a checkpoint folder holds."""
    if (folder / "chunks.jsonl").is_file():
        return (folder / "chunks.jsonl").read_bytes().count(b"\n")
    if (folder / "state.safetensors").is_file():
        with safe_open(folder / "state.safetensors", framework="pt") as state:
            return len(json.loads(state.metadata()["curve"]))
    return 0


def start(command: list[str], where: Path, **environment: str) -> subprocess.Popen[str]:
    """A command in a process group of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path} | environment
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=where, env=env, start_new_session=True, **pipes)


def kill(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> str:
    """Ends a process group; what it printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    return process.communicate()[0]


def until(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 120.0) -> bool:
    """Waits for a condition; False where the process ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    raise AssertionError("it never came")


def remove_outputs(repository: Path, stage: dict[str, Any]) -> None:
    """As dvc does before it runs a stage."""
    for name in stage["outs"]:
        path = repository / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_stage_killed_at_random_moments(name: str, played: Path) -> None:
    stage = stages(played)[name]
    for folder in checkpoints_of(played, name):
        shutil.rmtree(folder)
    remove_outputs(played, stage)
    began = time.monotonic()
    assert run(["sh", "-c", stage["cmd"]], played, **OFTEN).returncode == 0
    seconds = time.monotonic() - began
    wanted = files_below(played, written(stage))
    for folder in checkpoints_of(played, name):
        shutil.rmtree(folder)

    moments = random.Random(name)
    saved = 0
    for attempt in range(KILLS):
        remove_outputs(played, stage)
        process = start(["sh", "-c", stage["cmd"]], played, **OFTEN)
        moment = seconds * moments.uniform(0.0 if attempt == 0 else 0.5, 1.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        check_it_went_on(kill(process), saved)
        for folder in checkpoints_of(played, name):
            assert progress_of(folder) >= saved
            saved = progress_of(folder)
        half = {path for path in files_below_if_any(played, stage["outs"]) if ".tmp" not in path}
        assert all(wanted[path] == (played / path).read_bytes() for path in half), "half an output"
    remove_outputs(played, stage)
    done = run(["sh", "-c", stage["cmd"]], played, **OFTEN)
    assert done.returncode == 0, done.stderr
    check_it_went_on(done.stderr, saved)
    assert files_below(played, written(stage)) == wanted


def check_it_went_on(output: str, saved: int) -> None:
    """A run that came as far as to look says that it resumes after what was saved."""
    found = re.findall(r"resumes after (?:step|chunk) (\d+)", output)
    assert not found or int(found[0]) >= saved, output


def files_below_if_any(root: Path, names: list[str]) -> list[str]:
    return list(files_below(root, [name for name in names if (root / name).exists()]))


def test_a_stage_whose_dvc_was_killed_holds_its_training(played: Path) -> None:
    """The orphan keeps the second run away; when it is gone, the training ends as it should."""
    lock = (played / "dvc.lock").read_bytes()
    for folder in checkpoints_of(played, "train_base_rm"):
        shutil.rmtree(folder)
    repro = ["dvc", "repro", "--force", "--single-item", "train_base_rm"]
    process = start(repro, played, APO_CHECKPOINT_SECONDS="0")
    assert until(lambda: any(map(progress_of, checkpoints_of(played, "train_base_rm"))), process)
    orphans = [p for p in psutil.Process(process.pid).children(recursive=True) if "python" in p.name()]
    for orphan in orphans:
        orphan.suspend()
    process.kill()
    process.wait()  # a dvc that nobody waits for still looks alive to dvc
    refused = run(repro, played)
    assert refused.returncode != 0
    assert "another process that runs this stage" in refused.stdout + refused.stderr
    for orphan in orphans:
        orphan.kill()
    process.communicate()
    output = dvc(played, *repro[1:])
    assert "base_rm: resumes after step" in output
    assert (played / "dvc.lock").read_bytes() == lock


def test_control_c_ends_in_one_line_and_goes_on(played: Path) -> None:
    lock = (played / "dvc.lock").read_bytes()
    repro = ["dvc", "repro", "--force", "--single-item", "backbone"]
    for _ in range(8):  # the training is short: it may be over before the signal arrives
        for folder in checkpoints_of(played, "backbone"):
            shutil.rmtree(folder)
        process = start(repro, played, APO_CHECKPOINT_SECONDS="0")
        until(lambda: any(map(progress_of, checkpoints_of(played, "backbone"))), process)
        output = kill(process, signal.SIGINT)
        if process.returncode:
            break
    assert process.returncode != 0, output
    assert "resumes from the last checkpoint" in output and "Traceback" not in output, output
    assert "backbone: resumes after step" in dvc(played, *repro[1:])
    assert (played / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("train_base_rm", ".cache"),
        ("train_base_rm", "models/rm_base"),
        ("score@round0", ".cache"),
        ("sample@round0-base", "data/samples"),
        ("align@round0-apo", "models/llm_apo"),
        ("answer@round0-apo", "data/answers"),
        ("start@llm_apo", "models/llm_apo"),
    ],
)
def test_a_full_disk(name: str, full: str, played: Path, tmp_path: Path) -> None:
    """One line that says so, nothing half; with room again the stage goes on to the same bytes."""
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or run([*namespace, "mount -t tmpfs tmpfs /mnt"], tmp_path).returncode:
        pytest.skip("this system does not let a user mount a small disk")
    stage = stages(played)[name]
    # A checkpoint goes to a disk of its own: the small one must not hide the inputs that lie beside it.
    elsewhere = f"full/{Path(full).name}" if full.startswith("models/") else full
    wanted = {
        path.replace(full, elsewhere): data for path, data in files_below(played, written(stage)).items()
    }
    command = stage["cmd"].replace(f"--out {full}", f"--out {elsewhere}")
    disk = "full" if elsewhere != full else full
    sandbox = tmp_path / "sandbox"
    copy_declared(stage, played, sandbox)
    shutil.copy(played / "params.yaml", sandbox)
    (sandbox / disk).mkdir(parents=True, exist_ok=True)

    size = "4k" if full == ".cache" else "16k"
    small_disk = f"mount -t tmpfs -o size={size} tmpfs {disk} && exec {command}"
    done = run([*namespace, small_disk], sandbox, DVC_ROOT=str(sandbox), APO_CHECKPOINT_SECONDS="0")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: .*[Nn]o space left", done.stderr, flags=re.MULTILINE), done.stderr

    assert run(["sh", "-c", command], sandbox, DVC_ROOT=str(sandbox)).returncode == 0
    found = files_below(sandbox, [path.replace(full, elsewhere) for path in written(stage)])
    assert found.keys() == wanted.keys()
    different = {path for path in wanted if found[path] != wanted[path]}
    told = {path for path in wanted if path.endswith(("README.md", "provenance.json"))}
    assert different <= (told if elsewhere != full else set())  # those name the other folder


def start_queue(repository: Path, **environment: str) -> None:
    """Starts a worker, which would hold a pipe open for as long as it works."""
    env = (
        os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | environment
    )
    nowhere: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["dvc", "queue", "start"], cwd=repository, env=env, check=True, **nowhere)


STAGE = "train_apo_rm@round0"  # the one that is killed in an experiment


@pytest.mark.parametrize("queue", [False, True], ids=["temp", "queue"])
def test_an_experiment_in_its_own_folder_goes_on(queue: bool, played: Path) -> None:
    """`DVC_ROOT` is the repository that the experiment was started from, so its checkpoints survive."""
    value = "kl_coeff=0.25" if queue else "kl_coeff=0.5"
    before = set(checkpoints_of(played, STAGE))

    def begun() -> bool:
        return any(map(progress_of, set(checkpoints_of(played, STAGE)) - before))

    run_it = ["dvc", "exp", "run", "--queue" if queue else "--temp", "-S", f"apo.{value}"]
    often = {"APO_CHECKPOINT_SECONDS": "0"}
    if queue:
        assert run(run_it, played, **often).returncode == 0
        start_queue(played, **often)
        clock = start(["sleep", "300"], played)
        assert until(begun, clock)
        for process in psutil.process_iter(["cmdline"]):
            if "stages.train_apo_rm" in (process.info["cmdline"] or []):
                process.kill()
        kill(clock)
        run(["dvc", "queue", "stop", "--kill"], played)
    else:
        process = start(run_it, played, **often)
        assert until(begun, process)
        kill(process)
    run(["dvc", "queue", "remove", "--all"], played)
    output = dvc(played, "exp", "run", "--temp", "-S", f"apo.{value}", **often)
    assert "apo_rm_r1: resumes after step" in output, output
    name = re.search(r"Ran experiment\(s\): (\S+)", output)
    assert name
    dvc(played, "exp", "apply", name[1])
    found = files_below(played, written(stages(played)[STAGE]))
    for folder in set(checkpoints_of(played, STAGE)) - before:
        shutil.rmtree(folder)
    stage = stages(played)[STAGE]
    remove_outputs(played, stage)
    assert run(["sh", "-c", stage["cmd"]], played).returncode == 0
    assert files_below(played, written(stage)) == found
    git(played, "checkout", "-q", "--force", ".")
