"""apo/core/distributed.py: a stage under a launcher; what is told when a rank ends as it should not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from apo.core import distributed

ROOT = Path(__file__).parents[3]
TORCHRUN = "torchrun --standalone --nproc_per_node 2"
# A stage whose ranks write down who they are; the outer process puts it together.
STAGE = """
import os, signal, sys, time
from pathlib import Path
from apo.core import distributed
from apo.core.errors import UserError
from apo.core.stage import run

def main(out: Path, how: str = "well") -> None:
    folder = out.parent / "ranks"
    folder.mkdir(exist_ok=True)
    rank, world = distributed.rank_and_world_size("work")
    if distributed.launcher_requested():
        distributed.run_workers("work", folder)
    elif how == "wait":
        (folder / f"{rank}.pid").write_text(str(os.getpid()))
        time.sleep(300)
    elif how == "killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "wrong" and rank == 1:
        raise UserError("a.jsonl:7", found="an error", expected="none", do="mend it")
    elif how == "bug" and rank == 1:
        raise ZeroDivisionError
    elif how != "well":
        time.sleep(300)
    else:
        (folder / str(rank)).write_text(f"{rank} of {world}")
        if distributed.is_worker():
            raise distributed.WorkerDone
    out.write_text(",".join(path.read_text() for path in sorted(folder.iterdir()) if path.is_file()))

if __name__ == "__main__":
    run(main)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()
    (tmp_path / "stages" / "work.py").write_text(STAGE)
    return tmp_path


def start(where: Path, launcher: str, how: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "APO_LAUNCH": launcher}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.work", "--out", "out.txt", "--how", how],
        cwd=where,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(where: Path, launcher: str, how: str) -> tuple[int, str]:
    """Exit code, and the last line of what was printed."""
    process = start(where, launcher, how)
    said = process.communicate(timeout=60)[1]
    return process.returncode, (said.splitlines() or [""])[-1]


def test_one_process_needs_no_launcher(stage: Path) -> None:
    assert ended(stage, "", "well") == (0, "")
    assert (stage / "out.txt").read_text() == "0 of 1"


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        (
            "no_such_program -n 2",
            "error: APO_LAUNCH: found 'no_such_program', which is no program on the PATH",
        ),
        ("torchrun 'x", 'error: APO_LAUNCH: found "torchrun \'x" (No closing quotation)'),
        ("env python", "error: APO_LAUNCH: found a launcher that sets no RANK and WORLD_SIZE"),
        ("false", "error: APO_LAUNCH: found exit code 1 of the launcher"),
    ],
)
def test_a_wrong_launcher_is_one_message(stage: Path, launcher: str, message: str) -> None:
    code, last = ended(stage, launcher, "well")
    assert code == 1 and last.startswith(message), last
    assert not (stage / "out.txt").exists()


NCCL = (
    "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, NumelIn=1, "
    "NumelOut=1, Timeout(ms)=1800000) ran for 1800061 milliseconds before timing out."
)


def test_a_time_limit_in_nccl_is_one_message(stage: Path) -> None:
    """Which ends the process: all that is left of it is what it printed."""
    (stage / "nccl.sh").write_text(f"echo '{NCCL}' >&2\nexit 1\n")
    code, last = ended(stage, "sh nccl.sh", "well")
    assert code == 1
    assert last.startswith(
        "error: APO_COLLECTIVE_TIMEOUT: found a rank waiting for another one for 1800 seconds"
    )


@pytest.mark.parametrize(
    "said",
    [
        "[unbound_buffer.cc:78] Timed out waiting 2500ms for recv operation to complete",
        "wait timeout after 2500ms, keys: /default_pg/0//cpu//0/1",
    ],
)
def test_a_time_limit_in_gloo_is_one_message(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(distributed.FOLDER, str(tmp_path))
    monkeypatch.setenv("RANK", "2")
    assert distributed.report_group(RuntimeError(said))
    found = json.loads((tmp_path / "2.json").read_text())
    assert found["where"] == "APO_COLLECTIVE_TIMEOUT"
    assert found["found"] == "rank 2 waiting for another one for 2.5 seconds"
    assert not distributed.report_group(RuntimeError("a bug"))


@pytest.mark.slow
def test_two_ranks_do_the_work_and_one_process_writes(stage: Path) -> None:
    assert ended(stage, TORCHRUN, "well")[0] == 0
    assert (stage / "out.txt").read_text() == "0 of 2,1 of 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", "error: APO_LAUNCH: found rank 1 killed by SIGKILL"),
        ("wrong", "error: a.jsonl:7: found an error; expected none; mend it"),
        ("bug", "error: stage work: found ZeroDivisionError"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_reason(stage: Path, how: str, message: str) -> None:
    began = time.monotonic()
    code, last = ended(stage, TORCHRUN, how)
    assert code == 1 and last.startswith(message), last
    assert time.monotonic() - began < 50
    assert not (stage / "out.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["well", "killed"])
def test_two_machines(stage: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are this one, and ssh is a shell; the ranks meet over the network and share a folder."""
    (stage / "ssh").write_text('#!/bin/sh\ntest "$1 $2" = "-tt second" && exec sh -c "$3"\n')
    (stage / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{stage}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PORT", "29517")
    launcher = f"bash {ROOT / 'configs' / 'two_nodes.sh'} 127.0.0.1 second 1"
    began = time.monotonic()
    code, last = ended(stage, launcher, how)
    if how == "well":
        assert (code, (stage / "out.txt").read_text()) == (0, "0 of 2,1 of 2")
    else:
        assert code == 1 and last.startswith("error: APO_LAUNCH: found rank 1 killed by SIGKILL"), last
        assert time.monotonic() - began < 50


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["outer", "launcher"])
def test_no_rank_outlives_who_started_it(stage: Path, victim: str) -> None:
    process = start(stage, TORCHRUN, "wait")
    pids = [stage / "ranks" / f"{rank}.pid" for rank in (0, 1)]
    while not all(path.exists() and path.read_text() for path in pids):
        assert process.poll() is None
        time.sleep(0.05)
    ranks = [psutil.Process(int(path.read_text())) for path in pids]
    launcher = ranks[0].parent()
    assert launcher is not None and launcher.pid != process.pid
    os.kill(process.pid if victim == "outer" else launcher.pid, signal.SIGKILL)
    assert not psutil.wait_procs(ranks, timeout=45)[1]
    said = process.communicate(timeout=10)[1]
    if victim == "launcher":
        assert "APO_LAUNCH: found exit code -9 of the launcher" in said
