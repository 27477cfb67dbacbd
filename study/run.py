"""Plays the games, several at a time, and keeps a result of each; what is kept is not played again."""

import json
import os
import shutil
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from threading import Lock
from typing import Any

from apo.core.errors import UserError
from apo.core.records import write_json
from study.facts import facts
from study.play import code_hash, key_of, make_copy, play
from study.preloaded import PreloadedPython
from study.settings import Game, Settings, games


class Progress:
    """One line a game: how it ended, and how long the rest will take, by the mean of games of its kind."""

    def __init__(self, todo: list[Game], workers: int) -> None:
        self.left = list(todo)
        self.all, self.workers = len(todo), workers
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.lock = Lock()

    def ended(self, game: Game, seconds: float, said: str = "") -> None:
        """Counts a game and prints its line."""
        with self.lock:
            self.left.remove(game)
            self.seconds[game.kind].append(seconds)
            known = [s for times in self.seconds.values() for s in times]
            left = sum(fmean(self.seconds[one.kind] or known) for one in self.left) / self.workers
            done = f"{self.all - len(self.left)} of {self.all}"
            print(f"{done}: {game.title}, {seconds:.0f} s{said}; about {left / 60:.0f} min left", flush=True)


def run(settings: Settings, folder: Path, workers: int) -> int:
    """Plays what has no result yet.

    Args:
        settings: What to play.
        folder: For the copies, the common cache and the results.
        workers: Games at a time, each with one thread.

    Returns:
        How many games failed; what each said is printed, the others go on.
    """
    code = code_hash()
    results, cache = folder / "results", folder / "cache"
    results.mkdir(parents=True, exist_ok=True)
    lists = [
        [game for game in line if not (results / f"{key_of(game, code)}.json").is_file()]
        for line in games(settings)
    ]
    todo = [game for line in lists for game in line]
    every = sum(map(len, games(settings)))
    print(f"{every} games, {every - len(todo)} of them kept from before, {workers} at a time", flush=True)
    progress = Progress(todo, workers)
    copies: SimpleQueue[Path] = SimpleQueue()
    for number in range(workers):
        copies.put(make_copy(folder / f"copy-{os.getpid()}-{number}", cache))

    def work(line: list[Game], python: Path) -> int:
        copy = copies.get()
        failed = 0
        try:
            for game in line:
                key = key_of(game, code)
                begun = time.monotonic()
                try:
                    play(game, copy, copy.with_suffix(".log"), python)
                    found = facts(copy)
                except UserError as error:
                    copy.with_suffix(".log").rename(folder / f"failed-{key[:12]}.log")
                    progress.ended(game, time.monotonic() - begun, f", FAILED: {error}")
                    failed += 1
                    continue
                seconds = time.monotonic() - begun
                write_json(results / f"{key}.json", kept(game, code, seconds, found))
                progress.ended(game, seconds)
        finally:
            copies.put(copy)
        return failed

    with PreloadedPython() as python, ThreadPoolExecutor(workers) as pool:
        lines = [pool.submit(work, line, python.folder) for line in lists]
        try:
            return sum(line.result() for line in as_completed(lines))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # what was not begun, when one of them failed
            while not copies.empty():
                copy = copies.get()
                shutil.rmtree(copy)
                copy.with_suffix(".log").unlink(missing_ok=True)


def kept(game: Game, code: str, seconds: float, found: dict[str, Any]) -> dict[str, Any]:
    """A result as it is kept: what was played by which code, and what was found."""
    said = {"kind": game.kind, "name": game.name, "seed": game.seed, "changes": game.changes}
    return {**said, "code": code, "seconds": round(seconds, 1), **found}


def read_kept(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """The results of this code and these settings that are there, in the order of play."""
    code = code_hash()
    paths = [folder / "results" / f"{key_of(game, code)}.json" for line in games(settings) for game in line]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
