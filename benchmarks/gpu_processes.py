"""Jobs of `python -m benchmarks.gpu` in processes of their own, each with a time limit.

A library that keeps memory, or a kernel that ends the process, then leaves the other jobs alone.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_jobs import Bench, Result

ROOT = Path(__file__).parents[1]
SECONDS = 180  # of a process
WORKER = "benchmarks.gpu_worker"
LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc_per_node", "1", "-m")


@contextlib.contextmanager
def started(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python, which is killed with its children if it still runs at the end.

    Args:
        arguments: The module and its arguments.
        environment: Environment variables on top of those of this process.
        options: Arguments of `subprocess.Popen`.
    """
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # one GPU, also where there are more
    fixed = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": devices}
    variables = {**os.environ, **fixed, **(environment or {})}
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, env=variables, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Waits for a process; returns its exit code.

    Raises:
        RuntimeError: It runs longer than `seconds`.
    """
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"a process ran longer than its limit of {SECONDS} seconds") from None


def in_process(
    bench: Bench,
    job: str,
    *,
    needs: str = "torch",
    launched: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Result:
    """The measurements of a job of `benchmarks.gpu_worker`.

    Args:
        bench: Says whether the job is tiny.
        job: Its name in the worker.
        needs: The package that it needs; without it the job is not measured.
        launched: Whether torchrun starts it, as one rank.
        environment: Environment variables on top of those of this process.

    Raises:
        RuntimeError: The job failed, and the message is that of its error; or it ran longer than `SECONDS`.
    """
    if importlib.util.find_spec(needs) is None:
        return {"not_measured": f"no package {needs} in this environment"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        arguments = [*(LAUNCHER if launched else ()), WORKER, job, str(out), *["--tiny"] * bench.tiny]
        with started(arguments, environment=environment, cwd=ROOT, stdout=sys.stderr) as process:
            code = wait(process, SECONDS)
        if not out.is_file():
            raise RuntimeError(f"the process of the job ended with code {code} and no result")
        result: Result = json.loads(out.read_text(encoding="utf-8"))
    if "error" in result:
        raise RuntimeError(result["error"])
    return result


def message(error: BaseException) -> str:
    """One line about an error, of at most 300 characters."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
