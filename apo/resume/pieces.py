"""Finished pieces of sampling and scoring, so that a killed stage goes on where it was."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any, TypeVar

from apo.resume.states import folder_of, held, no_room, remove_older

T = TypeVar("T")


class Pieces:
    """What was computed so far, a line a piece, in the order in which every run computes them.

    Lines are read back one at a time and compared with what is asked for; from the first one that is torn or
    belongs to something else (another token budget cuts other pieces), they are computed again.
    """

    def __init__(self, path: Path, stream: BufferedRandom) -> None:
        self._path, self._stream = path, stream
        self._reading, self._found = True, 0

    def get(self, key: list[Any], compute: Callable[[], T]) -> T:
        """The value of a piece: read, or computed and appended. It has to be made of what JSON holds."""
        if self._reading:
            start = self._stream.tell()
            line = self._stream.readline()
            found = _parsed(line)
            if found is not None and found[0] == key:
                self._found += 1
                value: T = found[1]
                return value
            self._reading = False
            if self._found:
                print(f"{self._path.parent.name}: goes on after piece {self._found}", file=sys.stderr)
            self._stream.seek(start)
            self._stream.truncate()
        value = compute()
        try:
            self._stream.write(json.dumps([key, value]).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            self._stream.raw.close()  # else closing it tries once more to write what found no room
            raise no_room(self._path, error) from None
        return value


def _parsed(line: bytes) -> Any:
    """Key and value of a whole line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


@contextlib.contextmanager
def pieces_of(name: str, key: str) -> Iterator[Pieces]:
    """The pieces of a stage, held for this process.

    Args:
        name, key: See `apo.resume.states.folder_of`.

    Raises:
        UserError: Another process runs the same computation.
    """
    folder = folder_of(name, key)
    with held(folder):
        path = folder / "pieces.jsonl"
        try:
            path.touch()
        except OSError as error:
            raise no_room(path, error) from None
        with path.open("r+b") as stream:
            yield Pieces(path, stream)
        remove_older(folder)
