"""A computation of squares in chunks, which can be killed; how often each is computed."""

import json
from pathlib import Path
from typing import Any

from apo.chunks.resumable import open_chunks


class Killed(Exception):
    """Stands for the end of a process."""


def squares(
    computed: list[int], count: int, *, key: str = "k", name: str = "n", stop_at: int | None = None
) -> list[Any]:
    """`expected(count)`, a chunk each; `computed` receives those that were not read."""

    def square(i: int) -> list[float]:
        if i == stop_at:
            raise Killed
        computed.append(i)
        return [i * i / 3]

    with open_chunks("test", key) as chunks:
        return list(chunks.values([[name, i] for i in range(count)], square))


def expected(count: int) -> list[list[float]]:
    return [[i * i / 3] for i in range(count)]


def chunks_file(root: Path) -> Path:
    """The file of the chunks."""
    [path] = root.glob(".cache/checkpoints/test-k/chunks.jsonl")
    return path


def saved(root: Path) -> list[int]:
    """The chunks in the file, by their numbers."""
    return [json.loads(line)[0][1] for line in chunks_file(root).read_bytes().splitlines()]
