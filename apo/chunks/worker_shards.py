"""The chunks that each worker has computed, a file per worker; the process that started them joins the files.

`share-RANK.jsonl` is a rank's; `found.jsonl` is what was in such files before, of any number of ranks. A line
is a piece: its key, its value, and how many queries it answers or rates. A torn line is no piece.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tqdm import tqdm

from apo.core.cache import disk_error

LOOK = 0.5  # seconds between two looks at how far the ranks are


class Known(NamedTuple):
    """A piece that a rank found, and whether one of the ranks that ended just now did."""

    value: Any
    is_new: bool


class Found:
    """The pieces of `found.jsonl` by their keys; memory is a place a piece.

    Args:
        folder: Of a computation.
        old: What was known before the ranks that have just ended.
    """

    def __init__(self, folder: Path, *, old: "Found | None" = None) -> None:
        self._path = folder / "found.jsonl"
        self._old: Set[bytes] = old._places.keys() if old else frozenset()
        self._places: dict[bytes, int] = {
            _digest(piece[0]): place for place, piece, _ in _placed(self._path, 0)
        }
        self._stream: BinaryIO | None = None

    def __enter__(self) -> "Found":
        self._stream = self._path.open("rb") if self._places else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()

    def get(self, key: list[Any]) -> Known | None:
        """The piece, None where nobody found it."""
        digest = _digest(key)
        place = self._places.get(digest)
        if place is None or self._stream is None:
            return None
        self._stream.seek(place)
        line = parsed(self._stream.readline())
        return Known(line[1], digest not in self._old) if line and line[0] == key else None

    def remove(self) -> None:
        """Removes the file: all of it is in `chunks.jsonl`."""
        self._path.unlink(missing_ok=True)


def parsed(line: bytes) -> Any:
    """Key, value and number of a whole line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def append(stream: BinaryIO, piece: list[Any], path: Path) -> None:
    """Writes a piece as a line, so that it is there whatever happens to the process.

    Raises:
        UserError: There is no room for it.
    """
    try:
        stream.write(json.dumps(piece).encode() + b"\n")
        stream.flush()
    except OSError as error:
        cast(Any, stream).raw.close()  # else closing it tries once more to write what found no room
        raise disk_error(path, error) from None


def shard_of(folder: Path, rank: int) -> Path:
    """The file of a rank."""
    return folder / f"share-{rank}.jsonl"


def gather(folder: Path) -> int:
    """Moves whole lines of the ranks' files to `found.jsonl`; how many files there were."""
    shares = sorted(folder.glob("share-*.jsonl"))
    if not shares:
        return 0
    path = folder / "found.jsonl"
    try:
        with path.open("ab") as out:
            out.write(b"\n")  # the end of a line that was torn
            for share in shares:
                with share.open("rb") as lines:
                    out.writelines(line for line in lines if line.endswith(b"\n"))
    except OSError as error:
        raise disk_error(path, error) from None
    for share in shares:
        share.unlink()
    return len(shares)


def known_queries(folder: Path) -> int:
    """How many queries the pieces of `chunks.jsonl` and `found.jsonl` answer or rate."""
    paths = (folder / "chunks.jsonl", folder / "found.jsonl")
    chunks = (piece for path in paths for _, piece, _ in _placed(path, 0))
    return sum({_digest(piece[0]): piece[2] for piece in chunks if len(piece) == 3}.values())


@contextlib.contextmanager
def progress(folder: Path, *, desc: str, total: int, done: int) -> Iterator[None]:
    """One progress line for all ranks, in a terminal.

    Args:
        total: Queries.
        done: Those of which pieces were there before.
    """
    with tqdm(total=total, initial=min(done, total), desc=desc, unit="query", disable=None) as line:
        if line.disable:
            yield
            return
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(folder, line, ended), daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()


def _watch(folder: Path, line: Any, ended: threading.Event) -> None:
    places: dict[Path, int] = {}
    while True:
        last = ended.wait(LOOK)
        line.update(new_queries(folder, places))
        if last:
            return


def new_queries(folder: Path, places: dict[Path, int]) -> int:
    """How many queries ranks have done since the last look.

    Args:
        places: Up to where each file was read, updated.
    """
    count = 0
    for path in sorted(folder.glob("share-*.jsonl")):
        for place, piece, size in _placed(path, places.get(path, 0)):
            places[path] = place + size
            count += piece[2]
    return count


def _placed(path: Path, place: int) -> Iterator[tuple[int, Any, int]]:
    """Whole lines of a file, from a byte on: at which byte, what is in it, how many bytes."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        lines.seek(place)
        for line in lines:
            piece = parsed(line)
            if piece is not None:
                yield place, piece, len(line)
            place += len(line)


def _digest(key: list[Any]) -> bytes:
    return hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
