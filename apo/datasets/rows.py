"""Streams the rows of an external file in any format, within bounds.

`.json` (a list, or one object per line), `.jsonl`, `.csv`, `.tsv`, these also as `.gz` and `.xz`, and
`.parquet`. Any bytes result in rows or in one error message, with a few rows in memory. The bounds are far
beyond any dialogue and far below the memory of a machine.
"""

import lzma
import re
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.errors import RowError, UserError
from apo.core.records import Row, utf8_error
from apo.datasets.broken_files import check_binary, check_no_json, line_problem, list_problem
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader, open_decompressed
from apo.datasets.csv_rows import DELIMITERS, table_rows
from apo.datasets.fields import as_row_error
from apo.datasets.file_signatures import check_signature
from apo.datasets.json_list import DECODER, JsonList
from apo.datasets.parquet import parquet_rows

MAX_BLANK_LINES = 100_000  # blank lines in a row
_BOM = b"\xef\xbb\xbf"
_FETCH_AGAIN = "download or write the file again"
_PLAIN_ENDS = (".json", ".jsonl", ".ndjson", *DELIMITERS)


class LocatedRow(NamedTuple):
    """A row, its number (the line of a .jsonl file) and its location for messages.

    A row that can't be read is a RowError instead, for which the caller has an action.
    """

    number: int
    where: str
    row: Row | RowError


def file_rows(path: Path, name: str) -> Generator[LocatedRow]:
    """The rows of a file, unchanged; messages call it by its display name.

    Raises:
        UserError: The file is missing, empty, damaged, of another format or beyond a bound.
    """
    kind = _kind_of(path, name)
    number = 0
    try:
        for located in _rows_of_kind(path, kind, name):
            number = located.number
            yield located
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            name,
            found=f"data that breaks off or is damaged after row {number} ({str(error)[:80]})",
            expected="a whole file",
            do=_FETCH_AGAIN,
        ) from None
    if number == 0:
        raise UserError(name, found="no rows", expected="at least one", do=_FETCH_AGAIN)


def _kind_of(path: Path, name: str) -> str:
    """The format by the file's name: its ending without that of the compression."""
    try:
        problem = "" if path.is_file() else "a folder" if path.is_dir() else "no such file"
        if problem == "no such file" and path.exists():
            problem = "a pipe or a device"
    except (OSError, ValueError):  # a name that no file can have
        problem = "no such file"
    if problem:
        raise UserError(name, found=problem, expected="a data file", do="correct the path")
    kind = path.with_suffix("").suffix if path.suffix in (".gz", ".xz") else path.suffix
    if kind not in (*_PLAIN_ENDS, ".parquet") or (kind == ".parquet" != path.suffix):
        raise UserError(
            name,
            found=f"a file name that ends in {path.suffix!r}",
            expected=".json, .jsonl, .csv or .tsv (also .gz, .xz), or .parquet",
            do="convert or rename the file",
        )
    return kind


def _rows_of_kind(path: Path, kind: str, name: str) -> Iterator[LocatedRow]:
    with path.open("rb") as raw:
        signature = raw.read(4096)
    check_signature(signature, name, compressed=kind == ".parquet" or kind != path.suffix)
    check_binary(signature, path, name)
    if kind == ".parquet":
        for number, row in enumerate(parquet_rows(path, name), start=1):
            yield LocatedRow(number, f"{name}: row {number}", row)
        return
    with open_decompressed(path) as start:
        beginning = BoundedReader(start, path, name).chunk()
    check_signature(beginning, name, compressed=False)
    is_list = beginning.removeprefix(_BOM).lstrip().startswith(b"[")
    if kind not in DELIMITERS and not is_list:
        _check_not_indented(beginning, name)
    with open_decompressed(path) as data:
        bounded = BoundedReader(data, path, name)
        if kind in DELIMITERS:
            check_no_json(beginning, name)
            yield from map(LocatedRow._make, table_rows(bounded, DELIMITERS[kind], name))
            return
        yield from (_listed_rows if is_list else _line_rows)(bounded, name)


# Lines ---------------------------------------------------------------------------------------------


def _line_rows(data: BoundedReader, name: str) -> Iterator[LocatedRow]:
    number = blank = 0
    while line := data.line():
        number += 1
        where = f"{name}:{number}"
        if len(line) > MAX_ROW_BYTES:
            raise UserError(
                where,
                found=f"a row of more than {MAX_ROW_BYTES} bytes",
                expected="one dialogue or comparison a row",
                do="shorten or remove it; a file in one line has to be a list: [{...}, {...}]",
            )
        if number == 1:
            line = line.removeprefix(_BOM)
        blank = blank + 1 if line.isspace() else 0
        if blank > MAX_BLANK_LINES:
            raise UserError(
                where, found=f"{MAX_BLANK_LINES} blank lines", expected="rows", do="remove the blank lines"
            )
        if not blank:
            yield LocatedRow(number, where, _parsed(line, where, is_first=number == 1))


def _check_not_indented(start: bytes, name: str) -> None:
    """Raises UserError if a file begins with an object over several lines."""
    text = start.removeprefix(_BOM).lstrip().decode(errors="replace")
    first, _, rest = text.partition("\n")
    if not first.startswith("{") or not rest:
        return
    try:
        _, end = DECODER.raw_decode(text)
        is_indented = end > len(first.rstrip())
    except (ValueError, RecursionError):
        is_indented = first.strip() == "{"
    if is_indented:
        key = re.match(r'\{\s*"([^"\\]{1,40})"\s*:\s*\[\s*\{', text)
        is_row = key and key[1] in (
            "conversations",
            "conversation",
            "messages",
            "prompt",
            "chosen",
            "rejected",
        )
        jq_filter = f".{key[1]}[]" if key and key[1].isidentifier() and not is_row else "."
        raise UserError(
            f"{name}:1",
            found="one JSON object over several lines"
            + (f", with a list of objects under {key[1]!r}" if key and not is_row else ""),
            expected="one object a line, or a list of objects: [{...}, {...}]",
            do=f"write each row on one line, for instance with `jq -c '{jq_filter}' FILE > rows.jsonl`",
        )


def _parsed(line: bytes, where: str, *, is_first: bool) -> Row | RowError:
    try:
        text = line.decode()
        row = DECODER.decode(text)
    except UnicodeDecodeError as error:
        return as_row_error("not_utf8", utf8_error(error, where))
    except (ValueError, RecursionError) as error:
        found, do = line_problem(text, error, is_first=is_first)
        return RowError("not_json", where, found=found, expected="one JSON object a line", do=do)
    return row if isinstance(row, dict) else _no_object(row, where)


def _no_object(value: Any, where: str) -> RowError:
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        jq_filter = "fromjson[]" if value.lstrip().startswith("[") else "fromjson"
        found = f"JSON in a text ({value[:40]!r})"
        do = f"decode it once more, for instance with `jq -c '{jq_filter}' FILE > rows.jsonl`"
        return RowError("not_json", where, found=found, expected="an object: {...}", do=do)
    found = f"JSON of type {type(value).__name__}"
    return RowError("not_json", where, found=found, expected="an object: {...}")


def _listed_rows(data: BoundedReader, name: str) -> Iterator[LocatedRow]:
    number, elements = 0, JsonList(data)
    try:
        for number, row in enumerate(elements.elements(), start=1):
            where = f"{name}: row {number}"
            yield LocatedRow(number, where, row if isinstance(row, dict) else _no_object(row, where))
    except UnicodeDecodeError as error:
        raise utf8_error(error, name, after_row=number) from None
    except (ValueError, RecursionError) as error:
        found, do = list_problem(elements.rest(), error, number)
        raise UserError(name, found=found, expected="one list of objects", do=do) from None
