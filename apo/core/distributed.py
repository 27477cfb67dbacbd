"""Distributed execution of a stage: the stage starts itself again under a launcher such as torchrun.

APO_LAUNCH  the launcher with its options: `torchrun --standalone --nproc_per_node 8`

DVC runs one command, whatever the number of processes. The process that DVC started is the main process. It
holds the locks and writes the outputs. At a computation that can be distributed it runs `$APO_LAUNCH -m
stages.NAME` with its own arguments. Each worker executes the stage up to that computation, does its share,
writes its results into a folder, and exits. The main process continues with the results in that folder.
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

PIECE, FOLDER = "APO_RANK_PIECE", "APO_RANK_FOLDER"  # set in workers only
# Runs a command that gets SIGTERM when its parent dies (1 is PR_SET_PDEATHSIG of prctl, on Linux).
EXEC_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"
)

# Messages of gloo, the rendezvous store and NCCL about a collective operation that timed out.
TIMED_OUT = re.compile(
    r"(?:Timed out waiting |wait timeout after |collective operation timeout: .*?Timeout\(ms\)=)(\d+)"
)
DISCONNECTED = re.compile(r"Connection (?:closed|reset) by peer|Broken pipe")  # gloo, after a worker exited
GRACE = 10  # seconds in which a launcher notices that a worker has exited


class WorkerDone(Exception):
    """A worker has done its share; `apo.core.stage` ends the process."""


def is_worker() -> bool:
    """Whether this process is a worker."""
    return PIECE in os.environ


def launcher_requested() -> bool:
    """Whether this process starts workers for distributed computations."""
    return bool(os.environ.get("APO_LAUNCH", "").strip()) and not is_worker()


def is_worker_of(piece: str) -> bool:
    """Whether this process is a worker of this computation."""
    return os.environ.get(PIECE) == piece


def rank_and_world_size(piece: str) -> tuple[int, int]:
    """Rank and number of workers of a computation; (0, 1) in a single process."""
    if not is_worker_of(piece):
        return 0, 1
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        raise UserError(
            "APO_LAUNCH",
            found="a launcher that sets no RANK and WORLD_SIZE",
            expected="torchrun, also under srun",
            do="write APO_LAUNCH='torchrun --standalone --nproc_per_node 2'",
        ) from None


def run_workers(piece: str, folder: Path) -> None:
    """Runs the workers of one computation and waits for them.

    Args:
        piece: Name of the computation, the argument of `rank_and_world_size`.
        folder: Folder for the results of the workers, locked by this process.

    Raises:
        UserError: There is no such launcher, or a worker failed. The first failure is raised.
    """
    launcher = _launcher()
    errors = folder / "errors"
    shutil.rmtree(errors, ignore_errors=True)
    errors.mkdir(parents=True)
    main = sys.modules["__main__"].__spec__
    assert main is not None and main.name.startswith("stages."), "started as python -m stages.NAME"
    command = [*launcher, "-m", main.name, *sys.argv[1:]]
    if sys.platform == "linux":
        command = [sys.executable, "-c", EXEC_WITH_PARENT, *command]
    environment = os.environ | {PIECE: piece, FOLDER: str(errors.resolve())}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            output = _forward_stderr(process)
        except KeyboardInterrupt:  # the launcher received it too
            process.wait()
            raise
    if process.returncode:
        raise _worker_error(errors, output, process.returncode)
    shutil.rmtree(errors)


def start_worker() -> None:
    """Makes this worker end with its launcher; a worker calls it first."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def report(error: UserError) -> None:
    """Writes the error of a worker for the main process, which prints it once."""
    content = {"where": error.where, "found": error.found, "expected": error.expected, "do": error.do}
    path = Path(os.environ[FOLDER], f"{os.environ.get('RANK', '0')}.json")
    path.write_text(json.dumps(content), encoding="utf-8")


def report_group(error: RuntimeError) -> bool:
    """Reports a failed collective operation: it timed out, or another worker has exited.

    Returns:
        False if the error has another cause.
    """
    rank = os.environ.get("RANK", "0")
    if timeout := _timeout_error(str(error), f"rank {rank}"):
        report(timeout)
    elif DISCONNECTED.search(str(error)):
        print(f"rank {rank}: another rank has ended", file=sys.stderr, flush=True)
        time.sleep(GRACE)  # the launcher reports the worker that exited first
    else:
        return False
    return True


def end_worker() -> NoReturn:
    """Ends this worker after all workers have done their share."""
    distributed = sys.modules.get("torch.distributed")  # only some stages import it
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
    end(0)


def end(code: int) -> NoReturn:
    """Ends this worker without the interpreter's shutdown, in which gloo may abort or block."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _launcher() -> list[str]:
    text = os.environ["APO_LAUNCH"]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _launcher_error(f"{text!r} ({error})") from None
    if shutil.which(words[0]) is None:
        raise _launcher_error(f"{words[0]!r}, which is no program on the PATH")
    return words


def _launcher_error(value: str) -> UserError:
    return UserError(
        "APO_LAUNCH",
        found=value,
        expected="a launcher with its options, such as 'torchrun --standalone --nproc_per_node 8'",
        do="fix it, or unset it for a single process",
    )


def _timeout_error(text: str, worker: str) -> UserError | None:
    """The error for a library's message about a timed-out collective operation; None for other messages."""
    match = TIMED_OUT.search(text)
    if match is None:
        return None
    return UserError(
        "APO_COLLECTIVE_TIMEOUT",
        found=f"{worker} waiting for another one for {int(match[1]) / 1000:g} seconds",
        expected="all ranks at the same point within this time",
        do="look for a rank or a machine that hangs, or raise the timeout if a step or a save "
        "takes that long; `dvc repro` then resumes from the last checkpoint",
    )


def _forward_stderr(process: subprocess.Popen[bytes]) -> str:
    """Forwards the workers' stderr until all have exited; returns the last 64 KiB."""
    assert process.stderr is not None
    tail = b""
    while chunk := os.read(process.stderr.fileno(), 65536):
        os.write(2, chunk)
        tail = (tail + chunk)[-65536:]
    process.wait()
    return tail.decode(errors="replace")


def _worker_error(errors: Path, output: str, code: int) -> UserError:
    """Why the workers failed: the first error they reported, else the root cause that torchrun names."""
    reports = sorted(errors.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if reports:
        return UserError(**json.loads(reports[0].read_text(encoding="utf-8")))
    if timeout := _timeout_error(output, "a rank"):  # NCCL ends the process
        return timeout
    match = re.search(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", output, flags=re.DOTALL)
    if match is None:
        cause = f"exit code {code} of the launcher"
    elif int(match[2]) < 0:
        cause = f"rank {match[1]} killed by {signal.Signals(-int(match[2])).name}"
    else:
        cause = f"rank {match[1]} ended with exit code {match[2]}"
    hint = " (SIGKILL: often the machine was out of memory)" if "SIGKILL" in cause else ""
    return UserError(
        "APO_LAUNCH",
        found=cause + hint,
        expected="exit code 0 of all ranks",
        do="read its output above; `dvc repro` then resumes from the last checkpoint",
    )
