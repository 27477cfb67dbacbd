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

from tests.helpers.played_repo import dvc, stages
from tests.helpers.small_repo import run
from tests.pipeline.test_hermetic import copy_declared, files_below, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CHECKPOINTS = {
    "backbone": "backbone",
    "train_apo_rm@round0": "apo_rm_r1",
    "align@round0-apo": "align_apo_r1",
    "sample@round0-apo": "sample_llm",
    "score@round0": "score_apo_r1",
    "evaluate_apo_rm@round0": "evaluate_apo_rm_r1",
    "answer@round0-apo": "answer_llm_apo_r1",
    "payoff@round0": "payoff_apo_rm_r1",
}
"""A stage of each kind that takes long, with the name under which it keeps what it has done so far."""

OFTEN = {"APO_CHECKPOINT_SECONDS": "0"}


def checkpoints_of(repository: Path, stage: str) -> list[Path]:
    """The folders in which a stage keeps what it has done so far."""
    return sorted((repository / ".cache" / "checkpoints").glob(f"{CHECKPOINTS.get(stage, stage)}-*"))


def progress_of(folder: Path) -> int:
    """Steps or pieces that a checkpoint folder holds."""
    if (folder / "chunks.jsonl").is_file():
        return (folder / "chunks.jsonl").read_bytes().count(b"\n")
    if (folder / "state.safetensors").is_file():
        with safe_open(folder / "state.safetensors", framework="np") as state:
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
def test_a_stage_killed_on_its_way_and_at_its_end(name: str, played: Path) -> None:
    """Somewhere on its way, then after its last step, while it writes; the bytes are those of the game."""
    stage = stages(played)[name]
    wanted = files_below(played, written(stage))
    folders = checkpoints_of(played, name)
    total = min(map(progress_of, folders))  # experiment `two` has more answers
    for folder in folders:
        shutil.rmtree(folder)
    saved = 0
    moments = (random.Random(name).randrange(1, total), total) if total > 1 else (total,)
    for moment in moments:
        remove_outputs(played, stage)
        process = start(["sh", "-c", stage["cmd"]], played, **OFTEN)
        until(lambda at=moment: any(progress_of(f) >= at for f in checkpoints_of(played, name)), process)
        check_it_went_on(kill(process), saved)
        [folder] = checkpoints_of(played, name)
        assert progress_of(folder) >= moment
        saved = progress_of(folder)
        half = [path for path in files_below_if_any(played, stage["outs"]) if ".tmp" not in path]
        assert all(wanted[path] == (played / path).read_bytes() for path in half), "half an output"
    remove_outputs(played, stage)
    done = run(["sh", "-c", stage["cmd"]], played, **OFTEN)
    assert done.returncode == 0, done.stderr
    check_it_went_on(done.stderr, saved)
    assert files_below(played, written(stage)) == wanted


def check_it_went_on(output: str, saved: int) -> None:
    """A run that came as far as to look says that it resumes after what was saved."""
    found = re.findall(r"resumes after (?:step|chunk) (\d+)", output)
    assert not found or int(found[-1]) >= saved, output


def files_below_if_any(root: Path, names: list[str]) -> list[str]:
    return list(files_below(root, [name for name in names if (root / name).exists()]))


def test_a_stage_whose_dvc_was_killed_holds_its_training(played: Path) -> None:
    """The orphan keeps the second run away; when it is gone, the training ends as it should."""
    lock = (played / "dvc.lock").read_bytes()
    for folder in checkpoints_of(played, "base_rm"):
        shutil.rmtree(folder)
    repro = ["dvc", "repro", "--force", "--single-item", "train_base_rm"]
    process = start(repro, played, APO_CHECKPOINT_SECONDS="0")
    assert until(lambda: any(map(progress_of, checkpoints_of(played, "base_rm"))), process)
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
    for _ in range(8):  # the training is short: the stage may be over before the signal arrives
        for folder in checkpoints_of(played, "backbone"):
            shutil.rmtree(folder)
        (played / "dvc.lock").write_bytes(lock)  # dvc itself may have been interrupted while it wrote it
        process = start(repro, played, APO_CHECKPOINT_SECONDS="0")
        until(lambda: any(map(progress_of, checkpoints_of(played, "backbone"))), process)
        output = kill(process, signal.SIGINT)
        assert "Traceback" not in output, output
        if "resumes from the last checkpoint" in output:
            break
    assert process.returncode != 0 and "resumes from the last checkpoint" in output, output
    assert "backbone: resumes after step" in dvc(played, *repro[1:])
    assert (played / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("train_base_rm", ".cache"),
        ("score@round0", ".cache"),
        ("sample@round0-base", "data/samples"),
        ("align@round0-apo", "models/llm_apo"),
        ("start", "models/llm_apo"),
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
    command = re.sub(rf"(--out\w*) {full}", rf"\1 {elsewhere}", stage["cmd"])
    command = command.replace(" stages.distributed ", " stages.")  # one more file, of no launcher
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
    cards = {path for path in wanted if path.endswith("README.md")}
    assert different <= (cards if elsewhere != full else set())  # those name the other folder


def test_an_experiment_in_its_own_folder_goes_on(played: Path) -> None:
    """Its checkpoints lie in the repository that it was started from, whose files stay as they are."""
    stage = "train_apo_rm@round0"
    lock, before = (played / "dvc.lock").read_bytes(), set(checkpoints_of(played, stage))

    def begun() -> bool:
        return any(map(progress_of, set(checkpoints_of(played, stage)) - before))

    run_it = ["exp", "run", "--temp", "--single-item", "-S", "apo.kl_coeff=0.5", stage]
    process = start(["dvc", *run_it], played, **OFTEN)
    assert until(begun, process)
    kill(process)
    output = dvc(played, *run_it, **OFTEN)
    assert "apo_rm_r1: resumes after step" in output, output
    assert (played / "dvc.lock").read_bytes() == lock
    name = re.search(r"Ran experiment\(s\): (\S+)", output)
    assert name
    dvc(played, "exp", "apply", name[1])
    assert (played / "dvc.lock").read_bytes() != lock
    found = files_below(played, written(stages(played)[stage]))
    for folder in set(checkpoints_of(played, stage)) - before:
        shutil.rmtree(folder)
    remove_outputs(played, stages(played)[stage])
    assert run(["sh", "-c", stages(played)[stage]["cmd"]], played).returncode == 0
    assert files_below(played, written(stages(played)[stage])) == found
