"""Plays jobs, several at a time, and keeps the result of each; a job with a result is not played again."""

import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from threading import Lock
from typing import Any

from apo.core.errors import UserError
from apo.core.records import write_json
from study.fork_server import ForkServer
from study.jobs import Job
from study.play import Workspace, make_copy

NICE = 10
"""The priority of games, below other work on the machine."""


class Progress:
    """Prints a line per finished job, with the time left, estimated by the mean of jobs of the same kind."""

    def __init__(self, todo: list[Job], workers: int) -> None:
        self.remaining = list(todo)
        self.total, self.workers = len(todo), workers
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.lock = Lock()

    def finish(self, job: Job, seconds: float, message: str = "") -> None:
        """Counts a job and prints its line."""
        with self.lock:
            self.remaining.remove(job)
            self.seconds[job.kind].append(seconds)
            times = list(chain.from_iterable(self.seconds.values()))
            left = sum(fmean(self.seconds[job.kind] or times) for job in self.remaining) / self.workers
            count = f"{self.total - len(self.remaining)} of {self.total}"
            print(
                f"{count}: {job.title}, {seconds:.0f} s{message}; about {left / 60:.0f} min left", flush=True
            )


def run(batches: Sequence[list[Job]], folder: Path, workers: int, code: str) -> int:
    """Plays the jobs that have no result yet.

    Args:
        batches: Jobs; one worker plays those of a batch in order.
        folder: The folder for the copies, the shared cache and the results.
        workers: Jobs at a time, each with one thread.
        code: The hash of the code, `study.play.code_hash`.

    Returns:
        The number of failed jobs. The output of each is in a log. The others are played nevertheless.
    """
    results = results_folder(folder)
    results.mkdir(parents=True, exist_ok=True)
    todo = [[job for job in batch if not (results / f"{job.key(code)}.json").is_file()] for batch in batches]
    total, left = sum(map(len, batches)), sum(map(len, todo))
    print(f"{total} games, {total - left} of them kept from before, {workers} at a time", flush=True)
    progress = Progress([job for batch in todo for job in batch], workers)
    with ForkServer() as server:
        workspaces: SimpleQueue[Workspace] = SimpleQueue()
        for number in range(workers):
            copy = make_copy(folder / f"copy-{os.getpid()}-{number}", folder / "cache")
            workspaces.put(Workspace(copy, server.folder))

        def work(batch: list[Job]) -> int:
            workspace = workspaces.get()
            try:
                return sum(not _play_job(job, workspace, folder, code, progress) for job in batch)
            finally:
                workspaces.put(workspace)

        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(work, batch) for batch in todo if batch]
            try:
                return sum(future.result() for future in as_completed(futures))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                while not workspaces.empty():
                    workspace = workspaces.get()
                    shutil.rmtree(workspace.copy)
                    for file in (workspace.log, workspace.params):
                        file.unlink(missing_ok=True)


def _play_job(job: Job, workspace: Workspace, folder: Path, code: str, progress: Progress) -> bool:
    """Plays a job and keeps its result; False if it failed."""
    start, key = time.monotonic(), job.key(code)
    workspace.log.unlink(missing_ok=True)  # that of the job before
    try:
        measurements = job.play(workspace)
    except UserError as error:
        if workspace.log.exists():  # else no stage was started
            workspace.log.rename(folder / f"failed-{key[:12]}.log")
        progress.finish(job, time.monotonic() - start, f", FAILED: {error}")
        return False
    seconds = time.monotonic() - start
    write_json(results_folder(folder) / f"{key}.json", result_record(job, code, seconds, measurements))
    progress.finish(job, seconds)
    return True


def result_record(job: Job, code: str, seconds: float, measurements: dict[str, Any]) -> dict[str, Any]:
    """The result of a job as it is kept: the job, the hash of the code, and the measurements."""
    description = {"kind": job.kind, "name": job.name, "seed": job.seed, "spec": job.spec}
    return {**description, "code": code, "seconds": round(seconds, 1), **measurements}


def results_folder(folder: Path) -> Path:
    """The folder of the kept results."""
    return folder / "results"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
