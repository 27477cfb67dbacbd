"""The ranks of a launcher as threads of this process, of which one runs at a time."""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from apo.core import distributed

T = TypeVar("T")


class _Group:
    """A process group of threads. A rank runs until its next collective operation, then another one runs."""

    def __init__(self, world: int) -> None:
        self.values: list[bytes] = [b""] * world
        self.barrier = threading.Barrier(world, timeout=100)
        self.turn, self.local = threading.Lock(), threading.local()

    def wait(self) -> None:
        self.turn.release()
        try:
            self.barrier.wait()
        finally:
            self.turn.acquire()

    def all_gather(self, value: Any) -> list[Any]:
        self.values[self.local.rank] = pickle.dumps(value)
        self.wait()
        found = [pickle.loads(data) for data in self.values]
        self.wait()
        return found

    @contextmanager
    def running(self, rank: int) -> Iterator[None]:
        self.local.rank = rank
        with self.turn:
            try:
                yield
            except BaseException:
                self.barrier.abort()  # as a launcher ends the other ranks
                raise


def run_ranks(monkeypatch: pytest.MonkeyPatch, world: int, work: Callable[[], T]) -> list[T]:
    """What `work` returns in each rank; the first error that a rank raises by itself."""
    group, found, errors = _Group(world), [Any] * world, []

    def start(rank: int) -> None:
        try:
            with group.running(rank):
                found[rank] = work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(distributed, "rank", lambda: group.local.rank)
        patch.setattr(distributed, "world_size", lambda: world)
        patch.setattr(distributed, "barrier", group.wait)
        patch.setattr(distributed, "all_gather", group.all_gather)
        patch.setattr(distributed, "broadcast", lambda value: group.all_gather(value)[0])
        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    assert not errors, "ranks that waited for each other"
    return found  # type: ignore[return-value]
