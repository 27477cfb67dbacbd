"""Records: JSON Lines in and out, as streams, whole or not at all."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from apo.errors import UserError

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a records file that this pipeline wrote, one at a time.

    Raises:
        UserError: The file is missing, or a line is not a JSON object.
    """
    for _, row in read_numbered_rows(path):
        yield row


def read_numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows with their line numbers, counted from 1."""
    if not path.is_file():
        raise UserError(
            str(path),
            found="no such file",
            expected="a JSON Lines file",
            do="run `dvc repro`: an earlier stage writes it",
        )
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            yield number, parse_row(line, where=f"{path}:{number}")


def parse_row(line: str, *, where: str) -> Row:
    """One line of JSON Lines as a dict."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            where,
            found=f"a line that is not JSON ({str(error)[:80]})",
            expected="one JSON object a line",
            do="mend or remove the line; a file cut off in the middle has to be fetched again",
        ) from None
    if not isinstance(row, dict):
        raise UserError(
            where,
            found=f"JSON of type {type(row).__name__}",
            expected="one JSON object a line",
            do="write each record as {...} on a line of its own",
        )
    return row


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes rows as JSON Lines under a temporary name and renames at the end; returns how many."""
    count = 0
    with _in_place_of(path) as out:
        for count, row in enumerate(rows, start=1):  # noqa: B007 - the last number is the result
            out.write(_line(row))
    return count


def write_parts(paths: Mapping[str, Path], rows: Iterable[tuple[str, Row]]) -> dict[str, int]:
    """Writes one stream of (part, row) into a file for each part, all whole or none; rows per part."""
    with contextlib.ExitStack() as stack:
        files = {part: stack.enter_context(_in_place_of(path)) for part, path in paths.items()}
        counts = dict.fromkeys(paths, 0)
        for part, row in rows:
            files[part].write(_line(row))
            counts[part] += 1
    return counts


def write_json(path: Path, content: Any) -> None:
    """Writes one JSON document, indented, whole or not at all. NaN is refused."""
    with _in_place_of(path) as out:
        out.write(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def _in_place_of(path: Path) -> Iterator[TextIO]:
    """A file under a temporary name that takes the path's place when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            yield out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
