"""apo/core/distributed.py: a stage under a launcher; what is printed when a rank ends as it should not."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from apo.core import distributed
from apo.core.errors import UserError

ROOT = Path(__file__).parents[3]
TORCHRUN = "torchrun --standalone --nproc_per_node 2"
ACCELERATE = "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
# A stage whose ranks say who they are, compute together, and write once.
STAGE = """
import datetime, os, signal, sys, time
from pathlib import Path
from apo.core import distributed
from apo.core.errors import UserError
from apo.core.records import write_json
from apo.core.stage import run

def main(out: Path, how: str = "well") -> None:
    rank = distributed.rank()
    Path(f"{rank}.pid").write_text(str(os.getpid()))
    if how in ("all", f"only {rank}"):
        raise UserError("a.jsonl:7", found="an error", expected="none", do="fix it")
    if how.startswith("only"):
        distributed.init_process_group("gloo", datetime.timedelta(seconds=60))
        distributed.barrier()
    if how == f"bug {rank}":
        raise ZeroDivisionError
    if how == f"killed {rank}":
        os.kill(os.getpid(), signal.SIGKILL)
    if how != "well":
        time.sleep(300)
    distributed.init_process_group("gloo", datetime.timedelta(seconds=60))
    print(f"rank {rank} prints", file=sys.stderr)
    shared = distributed.share([lambda i=i: [i, distributed.rank()] for i in range(3)])
    known = distributed.all_gather([rank, list(shared), distributed.broadcast(rank)])
    write_json(out, {"world": distributed.world_size(), "known": known, "writes": rank})

if __name__ == "__main__":
    run(main)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()
    shutil.copy2(ROOT / "stages" / "distributed.py", tmp_path / "stages")
    (tmp_path / "stages" / "work.py").write_text(STAGE)
    return tmp_path


def start(where: Path, launcher: str, how: str, **variables: str) -> subprocess.Popen[str]:
    """The stage by a command as dvc.yaml has it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "APO_LAUNCH": launcher} | variables
    command = ["python", "-m", "stages.distributed", "work", "--out", "out.json", "--how", how]
    return subprocess.Popen(command, cwd=where, env=environment, stderr=subprocess.PIPE, text=True)


def ended(where: Path, launcher: str, how: str, **variables: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    process = start(where, launcher, how, **variables)
    said = process.communicate(timeout=90)[1]
    return process.returncode, said


def errors(said: str) -> list[str]:
    """The lines of errors that are not torchrun's."""
    return [line for line in said.splitlines() if re.match(r"(rank \d+: )?error: ", line)]


def test_one_process_needs_no_launcher(stage: Path) -> None:
    assert ended(stage, "", "well") == (0, "rank 0 prints\n")
    found = '"world": 1,\n  "known": [[0, [[0, 0], [1, 0], [2, 0]], 0]],\n  "writes": 0'
    assert re.sub(r"\s+", "", found) in re.sub(r"\s+", "", (stage / "out.json").read_text())


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_a_launcher_that_sets_no_ranks_is_one_message(stage: Path, name: str) -> None:
    code, said = ended(stage, "", "well", **{name: "2"})
    found = f"error: APO_LAUNCH: found a launcher that starts 2 processes ({name}) and sets no RANK"
    assert code == 1 and said.startswith(found) and said.count("\n") == 1
    assert not (stage / "out.json").exists()
    assert ended(stage, "", "well", **{name: "1"})[0] == 0


def test_a_batch_script_of_slurm_is_no_launcher(stage: Path) -> None:
    """It runs once, whatever tasks it asked for; `srun` below it starts them."""
    assert ended(stage, "", "well", SLURM_NTASKS="2", SLURM_PROCID="0")[0] == 0


@pytest.mark.parametrize(
    "said",
    [
        "[unbound_buffer.cc:78] Timed out waiting 2500ms for recv operation to complete",
        "wait timeout after 2500ms, keys: /default_pg/0//cpu//0/1",
    ],
)
def test_a_time_limit_in_gloo_is_one_message(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 2)
    found = distributed.explain_collective(RuntimeError(said))
    assert isinstance(found, UserError) and found.where == "APO_COLLECTIVE_TIMEOUT"
    assert found.found == "rank 2 waiting for another one for 2.5 seconds"
    assert distributed.explain_collective(RuntimeError("a bug")) is None


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE])
def test_two_ranks_compute_and_one_writes(launcher: str, stage: Path) -> None:
    code, said = ended(stage, launcher, "well")
    assert code == 0, said
    assert "rank 0 prints" in said and "rank 1 prints" not in said
    known = "[[0,0],[1,1],[2,0]]"
    written = re.sub(r"\s+", "", (stage / "out.json").read_text())
    assert written == f'{{"world":2,"known":[[0,{known},0],[1,{known},0]],"writes":0}}'
    assert not list(stage.glob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("only 0", "^error: a.jsonl:7: found an error; expected none; fix it$"),
        ("only 1", "^rank 1: error: a.jsonl:7: found an error; expected none; fix it$"),
        ("bug 1", "^rank 1: error: stage work: found ZeroDivisionError"),
        ("all", "^error: a.jsonl:7: found an error; expected none; fix it$"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_reason(stage: Path, how: str, message: str) -> None:
    began = time.monotonic()
    code, said = ended(stage, TORCHRUN, how)
    assert code == 1 and re.search(message, said, flags=re.MULTILINE | re.DOTALL), said
    assert len(errors(said)) == 1, said
    assert "RuntimeError" not in said
    assert time.monotonic() - began < 50
    assert not (stage / "out.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["well", "killed 1"])
def test_two_machines(stage: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are this one, and ssh is a shell; the ranks meet over the network and share a folder."""
    (stage / "ssh").write_text('#!/bin/sh\ntest "$1 $2" = "-tt second" && exec sh -c "$3"\n')
    (stage / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{stage}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PORT", "29517")
    launcher = f"bash {ROOT / 'configs' / 'two_nodes.sh'} 127.0.0.1 second 1"
    began = time.monotonic()
    code, said = ended(stage, launcher, how)
    if how == "well":
        assert code == 0 and '"world": 2' in (stage / "out.json").read_text(), said
    else:
        message = r"rank +: 1 .*exitcode +: -9 \(pid: \d+\)"
        assert code == 1 and re.search(message, said, flags=re.DOTALL), said
        assert not errors(said) and not (stage / "out.json").exists()
        assert time.monotonic() - began < 50


@pytest.mark.slow
def test_no_rank_outlives_its_launcher(stage: Path) -> None:
    process = start(stage, TORCHRUN, "wait")
    pids = [stage / f"{rank}.pid" for rank in (0, 1)]
    while not all(path.exists() and path.read_text() for path in pids):
        assert process.poll() is None
        time.sleep(0.05)
    ranks = [psutil.Process(int(path.read_text())) for path in pids]
    assert {rank.ppid() for rank in ranks} == {process.pid}
    os.kill(process.pid, signal.SIGKILL)
    assert not psutil.wait_procs(ranks, timeout=45)[1]
    process.communicate(timeout=10)
