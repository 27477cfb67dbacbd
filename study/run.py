"""Plays jobs, several at a time, and keeps a result of each; what is kept is not played again."""

import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
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
"""Games give way to other work on the machine."""


class Progress:
    """One line a job: how it ended, and how long the rest will take, by the mean of jobs of its kind."""

    def __init__(self, todo: list[Job], workers: int) -> None:
        self.left = list(todo)
        self.all, self.workers = len(todo), workers
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.lock = Lock()

    def ended(self, job: Job, seconds: float, message: str = "") -> None:
        """Counts a job and prints its line."""
        with self.lock:
            self.left.remove(job)
            self.seconds[job.kind].append(seconds)
            known = [s for times in self.seconds.values() for s in times]
            left = sum(fmean(self.seconds[one.kind] or known) for one in self.left) / self.workers
            done = f"{self.all - len(self.left)} of {self.all}"
            print(
                f"{done}: {job.title}, {seconds:.0f} s{message}; about {left / 60:.0f} min left", flush=True
            )


def run(lists: Sequence[list[Job]], folder: Path, workers: int, code: str) -> int:
    """Plays what has no result yet.

    Args:
        lists: Jobs; one worker plays those of a list in their order.
        folder: For the copies, the common cache and the results.
        workers: Jobs at a time, each with one thread.
        code: The hash of the code that plays, `study.play.code_hash`.

    Returns:
        How many jobs failed. What each printed is in a log; the others are played.
    """
    results = results_folder(folder)
    results.mkdir(parents=True, exist_ok=True)
    todo = [[job for job in line if not (results / f"{job.key(code)}.json").is_file()] for line in lists]
    every, left = sum(map(len, lists)), sum(map(len, todo))
    print(f"{every} games, {every - left} of them kept from before, {workers} at a time", flush=True)
    progress = Progress([job for line in todo for job in line], workers)
    with ForkServer() as server:
        workspaces: SimpleQueue[Workspace] = SimpleQueue()
        for number in range(workers):
            copy = make_copy(folder / f"copy-{os.getpid()}-{number}", folder / "cache")
            workspaces.put(Workspace(copy, server.folder))

        def work(line: list[Job]) -> int:
            workspace = workspaces.get()
            try:
                return sum(not _played(job, workspace, folder, code, progress) for job in line)
            finally:
                workspaces.put(workspace)

        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(work, line) for line in todo if line]
            try:
                return sum(future.result() for future in as_completed(futures))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                while not workspaces.empty():
                    workspace = workspaces.get()
                    shutil.rmtree(workspace.copy)
                    for file in (workspace.log, workspace.params):
                        file.unlink(missing_ok=True)


def _played(job: Job, workspace: Workspace, folder: Path, code: str, progress: Progress) -> bool:
    """Plays a job and keeps its result; False where it failed."""
    begun, key = time.monotonic(), job.key(code)
    try:
        found = job.play(workspace)
    except UserError as error:
        workspace.log.rename(folder / f"failed-{key[:12]}.log")
        progress.ended(job, time.monotonic() - begun, f", FAILED: {error}")
        return False
    seconds = time.monotonic() - begun
    write_json(results_folder(folder) / f"{key}.json", kept(job, code, seconds, found))
    progress.ended(job, seconds)
    return True


def kept(job: Job, code: str, seconds: float, found: dict[str, Any]) -> dict[str, Any]:
    """A result as it is kept: what was played by which code, and what was found."""
    head = {"kind": job.kind, "name": job.name, "seed": job.seed, "spec": job.spec}
    return {**head, "code": code, "seconds": round(seconds, 1), **found}


def results_folder(folder: Path) -> Path:
    """Of the kept results."""
    return folder / "results"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
