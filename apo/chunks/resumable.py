"""Resumable output of an inference stage, in chunks: an interrupted stage resumes, workers share the rest.

`chunks.jsonl` holds the pieces in the order in which every run computes them. Where the environment names a
launcher (`apo.core.distributed`), each rank goes through all pieces, computes its own ones among those that
are missing, and appends them to a file of its own (`apo.chunks.worker_shards`). The process that started the
ranks reads from there what `chunks.jsonl` lacks and computes nothing: what it writes is what one process
writes.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from apo.chunks.worker_shards import Found, append, gather, known_queries, parsed, progress, shard_of
from apo.core import distributed
from apo.core.cache import disk_error, folder_of, locked, remove_older
from apo.core.errors import UserError

T = TypeVar("T")


class Chunks:
    """What was computed so far, a line a piece.

    Lines are read back one at a time and compared with what is asked for; from the first one that is torn or
    belongs to something else (another token budget cuts other pieces), they are looked for among what ranks
    found, or computed again.

    Attributes:
        quiet: Whether the progress was shown already, while ranks were at work.
    """

    quiet = False

    def __init__(self, path: Path, stream: BinaryIO, found: Found) -> None:
        self._path, self._stream, self._found = path, stream, found
        self._reading, self._read = True, 0

    def get(
        self,
        key: list[Any],
        compute: Callable[[], T],
        *,
        queries: int = 1,
        elsewhere: Callable[[], T] | None = None,
    ) -> T:
        """The value of a piece: read, or computed and appended. It has to be made of what JSON holds.

        Args:
            key: What tells it from all others of the stage.
            compute: Gives the value.
            queries: How many it answers or rates, for the progress.
            elsewhere: Gives a rank something of the same form in the place of what another one computes.
        """
        value: T
        if self._reading:
            start = self._stream.tell()
            line = parsed(self._stream.readline())
            if line is not None and line[0] == key:
                self._read += 1
                value = line[1]
                return value
            self._reading = False
            self._stream.seek(start)
            self._begin()
        known = self._found.get(key)
        if known is None:
            return self._missing(key, compute, queries, elsewhere)
        value = known.value
        self._known(key, value, queries, is_new=known.is_new)
        return value

    def whole(self, rows: Iterable[T]) -> Iterable[T]:
        """The rows, for the process that writes them; a rank goes through them and ends here."""
        return rows

    def _begin(self) -> None:
        """What is behind the lines that were read is of no use."""
        if self._read and not self.quiet:
            print(f"{self._path.parent.name}: resumes after chunk {self._read}", file=sys.stderr)
        self._stream.truncate()

    def _known(self, key: list[Any], value: object, queries: int, *, is_new: bool) -> None:
        append(self._stream, [key, value, queries], self._path)

    def _missing(
        self, key: list[Any], compute: Callable[[], T], queries: int, elsewhere: Callable[[], T] | None
    ) -> T:
        value = compute()
        append(self._stream, [key, value, queries], self._path)
        return value


class GatheredChunks(Chunks):
    """The pieces behind ranks that have found them all."""

    quiet = True

    def __init__(self, path: Path, stream: BinaryIO, found: Found, world: int) -> None:
        super().__init__(path, stream, found)
        self._dealt, self._world = 0, world

    def _known(self, key: list[Any], value: object, queries: int, *, is_new: bool) -> None:
        self._dealt += is_new
        super()._known(key, value, queries, is_new=is_new)

    def _missing(
        self, key: list[Any], compute: Callable[[], T], queries: int, elsewhere: Callable[[], T] | None
    ) -> T:
        raise UserError(
            str(self._path.parent),
            found=f"no piece {str(key)[:60]}, which rank {self._dealt % self._world} of {self._world} had",
            expected="every piece that was dealt to a rank",
            do="look whether the ranks write to the same disk and run the same code with the same "
            "environment; `dvc repro` then goes on from the pieces that are there",
        )


class WorkerChunks(Chunks):
    """The pieces as a rank goes through them: those that are missing are dealt by their number.

    All ranks see the same ones missing, since nobody adds to the files that they read.
    """

    def __init__(
        self, path: Path, stream: BinaryIO, found: Found, share: BinaryIO, ranks: tuple[int, int]
    ) -> None:
        super().__init__(path, stream, found)
        self._share, (self._rank, self._world) = share, ranks
        self._dealt = self._own = 0

    def end(self) -> None:
        """Says so where there were fewer pieces than ranks."""
        if not self._own:
            name = self._path.parent.name
            print(f"{name}: rank {self._rank} of {self._world} had nothing to do", file=sys.stderr)

    def whole(self, rows: Iterable[T]) -> Iterable[T]:
        for _ in rows:
            pass
        raise distributed.WorkerDone

    def _begin(self) -> None:
        pass

    def _known(self, key: list[Any], value: object, queries: int, *, is_new: bool) -> None:
        pass

    def _missing(
        self, key: list[Any], compute: Callable[[], T], queries: int, elsewhere: Callable[[], T] | None
    ) -> T:
        assert elsewhere is not None, "a piece that ranks can share"
        is_own = self._dealt % self._world == self._rank
        self._dealt += 1
        if not is_own:
            return elsewhere()
        self._own += 1
        value = compute()
        append(self._share, [key, value, queries], self._path.parent)
        return value


@contextlib.contextmanager
def open_chunks(name: str, key: str, *, queries: int = 0) -> Iterator[Chunks]:
    """The pieces of a stage, held for this process; found by ranks, where the environment names a launcher.

    A rank goes no further than the end of the `with`.

    Args:
        name, key: See `apo.training.checkpointing.folder_of`.
        queries: How many all pieces together answer or rate. While fewer are known, ranks are started.

    Raises:
        UserError: Another process runs the same computation, or a rank died.
    """
    folder = folder_of(name, key)
    path = folder / "chunks.jsonl"
    if distributed.is_worker_of(name):
        with _for_a_rank(path, distributed.rank_and_world_size(name)) as dealt:
            yield dealt
        raise distributed.WorkerDone
    with locked(folder):
        try:
            path.touch()
        except OSError as error:
            raise disk_error(path, error) from None
        gather(folder)
        found, world = Found(folder), 0
        done = known_queries(folder) if distributed.launcher_requested() else queries
        if done < queries:
            if done:
                print(f"{folder.name}: resumes after {done} of {queries} queries", file=sys.stderr)
            with progress(folder, desc=name, total=queries, done=done):
                distributed.run_workers(name, folder)
            world = gather(folder) or 1
            found = Found(folder, old=found)
        with path.open("r+b") as stream, found:
            yield GatheredChunks(path, stream, found, world) if world else Chunks(path, stream, found)
        found.remove()
        remove_older(folder)


@contextlib.contextmanager
def _for_a_rank(path: Path, ranks: tuple[int, int]) -> Iterator[WorkerChunks]:
    share = shard_of(path.parent, ranks[0])
    with path.open("rb") as stream, Found(path.parent) as found, share.open("wb") as own:
        dealt = WorkerChunks(path, stream, found, own, ranks)
        with contextlib.suppress(distributed.WorkerDone):
            yield dealt
        dealt.end()
