"""Resumable output of an inference stage, in chunks: an interrupted stage resumes, processes share the rest.

`chunks.jsonl` holds the chunks in the order in which every run computes them, a line each. Rank 0 reads what
is there and appends what the processes compute together (`apo.core.distributed.share`). So the file is the
one that a single process writes, and a run resumes with any number of processes.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from apo.core import distributed
from apo.core.cache import disk_error, folder_of, locked

T = TypeVar("T")
Key = list[Any]


class Chunks:
    """The chunks of a computation: those in the file that match are read, the others are computed.

    Reading ends at a line that is torn or of another chunk: another token budget gives other chunks.

    Args:
        path: `chunks.jsonl`.
        stream: The open file in rank 0, None in the others.
    """

    def __init__(self, path: Path, stream: BinaryIO | None) -> None:
        self._path, self._stream = path, stream
        self._is_reading, self._read = True, 0

    def values(self, keys: Sequence[Key], compute: Callable[[int], T]) -> Iterator[T]:
        """The values of chunks in order, in every process: read, or computed by one process and appended.

        Args:
            keys: What distinguishes each chunk from all others of the computation.
            compute: Gives the value of `keys[index]`, of types that JSON has.

        Raises:
            UserError: There is no room for a chunk.
        """
        known: list[T] = distributed.broadcast(list(self._saved(keys)))
        yield from known
        missing = range(len(known), len(keys))
        values = distributed.share(partial(compute, index) for index in missing)
        for index, value in zip(missing, values, strict=True):
            self._append([keys[index], value])
            yield value

    def _saved(self, keys: Sequence[Key]) -> Iterator[Any]:
        """The values of the first keys that are in the file."""
        for key in keys:
            if self._stream is None or not self._is_reading:
                return
            start = self._stream.tell()
            line = _parsed(self._stream.readline())
            if line is None or line[0] != key:
                self._end_reading(start)
                return
            self._read += 1
            yield line[1]

    def _end_reading(self, place: int) -> None:
        """Removes the rest of the file after the lines that were read."""
        assert self._stream
        self._is_reading = False
        self._stream.seek(place)
        self._stream.truncate()
        if self._read:
            print(f"{self._path.parent.name}: resumes after chunk {self._read}", file=sys.stderr)

    def _append(self, chunk: list[Any]) -> None:
        """Writes a chunk and flushes it, so that it survives a killed process."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps(chunk).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            cast(Any, self._stream).raw.close()  # closing the stream would try to write again
            raise disk_error(self._path, error) from None


def values_of(keys: Sequence[Key], compute: Callable[[int], T], chunks: Chunks | None) -> Iterator[T]:
    """`chunks.values(keys, compute)`; without chunks nothing is read or kept."""
    if chunks:
        return chunks.values(keys, compute)
    return distributed.share(partial(compute, index) for index in range(len(keys)))


@contextlib.contextmanager
def open_chunks(name: str, key: str) -> Iterator[Chunks]:
    """The chunks of a computation, locked for this run; for the arguments see `apo.core.cache.folder_of`.

    Raises:
        UserError: Another process runs the same computation, or the folder is not writable.
    """
    folder = folder_of(name, key)
    path = folder / "chunks.jsonl"
    with locked(folder), contextlib.ExitStack() as stack:
        stream = None
        if distributed.is_main_process():
            try:
                path.touch()
                stream = stack.enter_context(path.open("r+b"))
            except OSError as error:
                raise disk_error(path, error) from None
        yield Chunks(path, stream)


def _parsed(line: bytes) -> Any:
    """Key and value of a whole line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
