"""A stage's heavy work on several processes: the stage starts itself again under a launcher such as torchrun.

APO_LAUNCH  the launcher with its options: `torchrun --standalone --nproc_per_node 8`

dvc sees one command, whatever the number of processes. The process that dvc started, the outer one, holds the
locks, the outputs and the provenance. Where a piece of work comes that can be shared, it runs `$APO_LAUNCH -m
stages.NAME` with its own arguments. Each rank goes the same way to that piece of work, does its part, leaves
what it found in a folder, and ends there; the outer process goes on from that folder.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from apo.core.errors import UserError

PIECE, FOLDER = "APO_RANK_PIECE", "APO_RANK_FOLDER"  # set for the ranks alone
# Runs a command that ends when its parent does, however that ends (1 is PR_SET_PDEATHSIG of prctl, on Linux).
BOUND = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"


# What gloo, the store in which processes meet, and NCCL say of a collective operation at its time limit.
TOO_LONG = re.compile(
    r"(?:Timed out waiting |wait timeout after |collective operation timeout: .*?Timeout\(ms\)=)(\d+)"
)
GONE = re.compile(r"Connection (?:closed|reset) by peer|Broken pipe")  # gloo, of a rank that has ended
GRACE = 10  # seconds in which a launcher sees that a rank has ended


class WorkerDone(Exception):
    """A rank has done its part; `apo.core.stage` ends the process."""


def is_worker() -> bool:
    """Whether this process is a rank."""
    return PIECE in os.environ


def launcher_requested() -> bool:
    """Whether this process is to start ranks for what can be shared."""
    return bool(os.environ.get("APO_LAUNCH", "").strip()) and not is_worker()


def is_worker_of(piece: str) -> bool:
    """Whether this process is a rank that was started for this piece of work."""
    return os.environ.get(PIECE) == piece


def rank_and_world_size(piece: str) -> tuple[int, int]:
    """Rank and number of the processes that share a piece of work; (0, 1) for one that does it alone."""
    if not is_worker_of(piece):
        return 0, 1
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        raise UserError(
            "APO_LAUNCH",
            found="a launcher that sets no RANK and WORLD_SIZE",
            expected="torchrun, alone or behind srun",
            do="write APO_LAUNCH='torchrun --standalone --nproc_per_node 2'",
        ) from None


def run_workers(piece: str, folder: Path) -> None:
    """Runs this stage once more on all ranks, for one piece of work, and waits for their end.

    Args:
        piece: Its name, which `ranks` is asked with.
        folder: Where the ranks leave what they found; held by this process.

    Raises:
        UserError: There is no such launcher, or a rank died or found something wrong: the first one's reason.
    """
    launcher = _launcher()
    said = folder / "said"
    shutil.rmtree(said, ignore_errors=True)
    said.mkdir(parents=True)
    main = sys.modules["__main__"].__spec__
    assert main is not None and main.name.startswith("stages."), "started as python -m stages.NAME"
    command = [*launcher, "-m", main.name, *sys.argv[1:]]
    if sys.platform == "linux":
        command = [sys.executable, "-c", BOUND, *command]
    environment = os.environ | {PIECE: piece, FOLDER: str(said.resolve())}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            last = _passed_on(process)
        except KeyboardInterrupt:  # which the launcher got too
            process.wait()
            raise
    if process.returncode:
        raise _reason(said, last, process.returncode)
    shutil.rmtree(said)


def start_worker() -> None:
    """What a rank does first: it ends when its launcher does."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def report(error: UserError) -> None:
    """Leaves a rank's reason for the outer process, which tells it once."""
    content = {"where": error.where, "found": error.found, "expected": error.expected, "do": error.do}
    path = Path(os.environ[FOLDER], f"{os.environ.get('RANK', '0')}.json")
    path.write_text(json.dumps(content), encoding="utf-8")


def report_group(error: RuntimeError) -> None:
    """Tells of a collective operation that failed: it took too long, or another rank has ended.

    Raises:
        RuntimeError: It is another error.
    """
    rank = os.environ.get("RANK", "0")
    if too_long := _too_long(str(error), f"rank {rank}"):
        report(too_long)
    elif GONE.search(str(error)):
        print(f"rank {rank}: another rank has ended", file=sys.stderr, flush=True)
        time.sleep(GRACE)  # the launcher names the one that ended first
    else:
        raise error


def end_worker() -> NoReturn:
    """Ends a rank that has done its part, when all have."""
    distributed = sys.modules.get("torch.distributed")  # imported by those that use it
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
    end(0)


def end(code: int) -> NoReturn:
    """Ends a rank without the interpreter's own end, in which gloo may abort or wait for others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _launcher() -> list[str]:
    text = os.environ["APO_LAUNCH"]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _no_launcher(f"{text!r} ({error})") from None
    if shutil.which(words[0]) is None:
        raise _no_launcher(f"{words[0]!r}, which is no program on the PATH")
    return words


def _no_launcher(found: str) -> UserError:
    return UserError(
        "APO_LAUNCH",
        found=found,
        expected="a launcher with its options, such as 'torchrun --standalone --nproc_per_node 8'",
        do="correct it, or unset it for one process",
    )


def _too_long(text: str, who: str) -> UserError | None:
    """What is told where a library said that a collective operation took too long."""
    found = TOO_LONG.search(text)
    if found is None:
        return None
    return UserError(
        "APO_COLLECTIVE_TIMEOUT",
        found=f"{who} waiting for another one for {int(found[1]) / 1000:g} seconds",
        expected="all ranks to come to the same point in this time",
        do="look for a rank or a machine that stands still, or set it to more seconds where a step or saving "
        "takes as long; `dvc repro` then goes on from the last checkpoint",
    )


def _passed_on(process: subprocess.Popen[bytes]) -> str:
    """Passes on what the ranks say, until all have ended; the end of it."""
    assert process.stderr is not None
    last = b""
    while chunk := os.read(process.stderr.fileno(), 65536):
        os.write(2, chunk)
        last = (last + chunk)[-65536:]
    process.wait()
    return last.decode(errors="replace")


def _reason(said: Path, last: str, code: int) -> UserError:
    """Why the ranks ended: what one of them said, else which one died first, as torchrun tells it."""
    reports = sorted(said.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if reports:
        return UserError(**json.loads(reports[0].read_text(encoding="utf-8")))
    if too_long := _too_long(last, "a rank"):  # NCCL ends the process
        return too_long
    found = re.search(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", last, flags=re.DOTALL)
    if found is None:
        how = f"an end with exit code {code}"
    elif int(found[2]) < 0:
        how = f"rank {found[1]} killed by {signal.Signals(-int(found[2])).name}"
    else:
        how = f"rank {found[1]} ended with exit code {found[2]}"
    memory = " (SIGKILL: often the memory of the machine was full)" if "SIGKILL" in how else ""
    return UserError(
        "APO_LAUNCH",
        found=how + memory,
        expected="all ranks to do their part",
        do="look at what it printed above; `dvc repro` then goes on from the last checkpoint",
    )
