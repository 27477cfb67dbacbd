"""Records: JSON Lines, read as streams and written atomically, by rank 0 alone.

A file without records is one empty line, because DVC warns about empty files.
"""

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from apo.core import distributed
from apo.core.errors import UserError

Row = dict[str, Any]
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def read_rows(path: Path, *texts: str) -> Iterator[Row]:
    """Yields the rows of a records file that this pipeline wrote.

    Args:
        texts: Keys whose value must be a string in every row.

    Raises:
        UserError: The file is missing, a line is not a JSON object, or a text is missing.
    """
    return (row for _, _, row in read_placed_rows(path, *texts))


def read_numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yields (line number, row); line numbers start at 1."""
    return ((number, row) for number, _, row in read_placed_rows(path))


def read_placed_rows(path: Path, *texts: str) -> Iterator[tuple[int, int, Row]]:
    """Yields (line number, byte offset of the line, row); line numbers start at 1."""
    if not path.is_file():
        raise UserError(
            str(path),
            found="a folder" if path.is_dir() else "no such file",
            expected="a JSON Lines file",
            do="run `dvc repro`: an earlier stage writes it",
        )
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line == b"\n" and number == 1 and not lines.peek(1):
                return
            where = f"{path}:{number}"
            row = parse_row(decoded(line, where=where), where=where)
            for key in texts:
                if not isinstance(row.get(key), str):
                    raise UserError(
                        where,
                        found=f"{row[key]!r:.40} under {key!r}" if key in row else f"no key {key!r}",
                        expected="a text",
                        do="run `dvc repro`, which writes the file again, or fix the row",
                    )
            yield number, offset, row
            offset += len(line)


def decoded(data: bytes, *, where: str) -> str:
    """Decodes UTF-8 and removes a byte order mark."""
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise utf8_error(error, where) from None


def utf8_error(error: UnicodeDecodeError, where: str, *, after_row: int | None = None) -> UserError:
    """The error for bytes that are not UTF-8, in a line or, with `after_row`, after that row of a list."""
    if after_row is None:
        found = f"bytes that are not UTF-8 ({error.reason} at byte {error.start + 1})"
    else:
        found = f"bytes that are not UTF-8 ({error.reason}) after row {after_row}"
    do = "convert the file, for instance with iconv"
    return UserError(where, found=found, expected="text in UTF-8", do=do)


def parse_row(line: str, *, where: str) -> Row:
    """Parses one line of JSON Lines."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            where,
            found=f"a line that is not JSON ({str(error)[:80]})",
            expected="one JSON object per line",
            do="fix or remove the line; download a truncated file again",
        ) from None
    if not isinstance(row, dict):
        raise UserError(
            where,
            found=f"JSON of type {type(row).__name__}",
            expected="one JSON object per line",
            do="write each record as {...} on a separate line",
        )
    return row


def unseen_id(row: Row, seen: set[str], *, where: str) -> str:
    """The `query_id` of a row, which is added to those of the rows before it.

    Raises:
        UserError: One of them has it.
    """
    query_id = str(row["query_id"])
    if query_id in seen:
        raise UserError(
            where,
            found=f"the repeated query_id {query_id!r}",
            expected="one row per query",
            do="put all of a query into one row, or make the file again if two were joined",
        )
    seen.add(query_id)
    return query_id


def is_finite_number(value: Any) -> bool:
    """Whether a value is a finite number. Booleans, and integers that no float holds, are not."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes rows as JSON Lines, atomically; returns their number."""
    return write_parts({"": path}, (("", row) for row in rows))[""]


def write_parts(paths: Mapping[str, Path], rows: Iterable[tuple[str, Row]]) -> dict[str, int]:
    """Writes a stream of (part, row) into one file per part, all files or none; returns the rows per part."""
    with contextlib.ExitStack() as stack:
        files = {part: stack.enter_context(_atomic_file(path)) for part, path in paths.items()}
        counts = dict.fromkeys(paths, 0)
        for part, row in rows:
            files[part].write(_line(row, paths[part]))
            counts[part] += 1
        for part, count in counts.items():
            if not count:
                files[part].write(b"\n")
            with _explained(paths[part]):  # all are on the disk before the first gets its name
                files[part].flush()
    return counts


def write_list(path: Path, rows: Iterable[Row]) -> int:
    """Writes rows as one JSON list, one row per line, atomically; returns their number."""
    count = 0
    with _atomic_file(path) as out:
        for count, row in enumerate(rows, start=1):
            out.write((b",\n" if count > 1 else b"[\n") + _line(row, path).rstrip(b"\n"))
        out.write(b"\n]\n" if count else b"[]\n")
    return count


def write_json(path: Path, content: Any) -> None:
    """Writes one indented JSON document, atomically. NaN raises ValueError."""
    with _atomic_file(path) as out:
        out.write(_encoded(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2), path))


def write_text(path: Path, text: str) -> None:
    """Writes a text file, atomically."""
    with _atomic_file(path) as out:
        out.write(_encoded(text, path).removesuffix(b"\n"))


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder, atomically. Files become hard links if the file system supports them.

    Raises:
        UserError: There is no such folder, or the target is not writable.
    """
    if not distributed.is_main_process():
        return
    if not source.is_dir():
        raise UserError(
            str(source),
            found="no such folder",
            expected="a checkpoint",
            do="run `dvc repro`, which writes it",
        )
    temporary = target.with_name(target.name + ".tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, temporary, copy_function=_link_or_copy)
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)


def _line(row: Row, path: Path) -> bytes:
    return _encoded(_encode_json(row), path)


def _encoded(text: str, path: Path) -> bytes:
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:
        raise UserError(
            str(path),
            found=f"half of a surrogate pair in the text after {text[: error.start][-40:]!r}",
            expected="valid Unicode",
            do="fix the file that the text comes from",
        ) from None


@contextlib.contextmanager
def _atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name, renamed to the path when it is complete. Ranks above 0 write nothing.

    Raises:
        UserError: The folder is not writable, or the disk is full.
    """
    if not distributed.is_main_process():
        with Path(os.devnull).open("wb") as out:
            yield out
        return
    temporary = path.with_name(path.name + ".tmp")
    with _explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as out:
                yield out
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        str(error.filename or path),
        found=str(error.strerror or error),
        expected=f"to be able to write {path.name}",
        do="check the permissions of the file and its folder, and the free disk space",
    )
