"""The rows of a file of other people, whatever its format, read as a stream within bounds.

`.json` (a list, or one object a line), `.jsonl`, `.csv`, `.tsv`, these also as `.gz` and `.xz`, and
`.parquet`. Whatever the bytes are, the result is rows or one message; memory is that of a few rows. The
bounds are far beyond any dialogue and short of what a machine can bear.
"""

import codecs
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader, open_decompressed
from apo.datasets.csv_rows import DELIMITERS, table_rows
from apo.datasets.file_signatures import check_signature
from apo.datasets.parquet import parquet_rows

MAX_BLANK_LINES = 100_000  # blank lines in a row
_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = b"\xef\xbb\xbf"
_FETCH = "download or write the file again"
_PLAIN_ENDS = (".json", ".jsonl", ".ndjson", *DELIMITERS)


class LocatedRow(NamedTuple):
    """A row, its number (the line of a .jsonl file) and its place for messages.

    A row that can't be read is given as what is wrong with it: the caller has an action for that.
    """

    number: int
    where: str
    row: Row | RowError


def file_rows(path: Path, name: str) -> Iterator[LocatedRow]:
    """The rows of a file in any of the formats, as they stand.

    Args:
        path: The file.
        name: What it is called in messages.

    Raises:
        UserError: The file is missing, empty, damaged, of another format or beyond a bound.
    """
    kind = _kind_of(path, name)
    number = 0
    try:
        for located in _rows(path, kind, name):
            number = located.number
            yield located
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            name,
            found=f"data that breaks off or is damaged after row {number} ({str(error)[:80]})",
            expected="a whole file",
            do=_FETCH,
        ) from None
    if number == 0:
        raise UserError(name, found="no rows", expected="at least one", do=_FETCH)


def _kind_of(path: Path, name: str) -> str:
    """The format that the file's name says: an ending without that of the packing."""
    try:
        what = "" if path.is_file() else "a folder" if path.is_dir() else "no such file"
        if what == "no such file" and path.exists():
            what = "a pipe or a device"
    except (OSError, ValueError):  # a name that no file can have
        what = "no such file"
    if what:
        raise UserError(name, found=what, expected="a data file", do="correct the path")
    kind = path.with_suffix("").suffix if path.suffix in (".gz", ".xz") else path.suffix
    if kind not in (*_PLAIN_ENDS, ".parquet") or (kind == ".parquet" != path.suffix):
        raise UserError(
            name,
            found=f"a file name that ends in {path.suffix!r}",
            expected=".json, .jsonl, .csv or .tsv (also .gz, .xz), or .parquet",
            do="convert or rename the file",
        )
    return kind


def _rows(path: Path, kind: str, name: str) -> Iterator[LocatedRow]:
    with path.open("rb") as raw:
        check_signature(raw.read(4096), name, compressed=kind == ".parquet" or kind != path.suffix)
    if kind == ".parquet":
        for number, row in enumerate(parquet_rows(path, name), start=1):
            yield LocatedRow(number, f"{name}: row {number}", row)
        return
    with open_decompressed(path) as start:
        beginning = start.read(4096)
    check_signature(beginning, name, compressed=False)
    is_list = beginning.removeprefix(_BOM).lstrip().startswith(b"[")
    with open_decompressed(path) as data:
        bounded = BoundedReader(data, path, name)
        if kind in DELIMITERS:
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
            raise _too_long(where)
        if number == 1:
            line = line.removeprefix(_BOM)
        blank = blank + 1 if line.isspace() else 0
        if blank > MAX_BLANK_LINES:
            raise UserError(
                where, found=f"{MAX_BLANK_LINES} blank lines", expected="rows", do="remove the blank lines"
            )
        if not blank:
            yield LocatedRow(number, where, _parsed(line, where))


def _too_long(where: str) -> UserError:
    return UserError(
        where,
        found=f"a row of more than {MAX_ROW_BYTES} bytes",
        expected="one dialogue or comparison a row",
        do="shorten or remove it; a file in one line has to be a list: [{...}, {...}]",
    )


def _parsed(line: bytes, where: str) -> Row | RowError:
    try:
        row = _DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        return RowError(
            "not_utf8",
            where,
            found=f"bytes that are not UTF-8 ({error.reason} at byte {error.start + 1})",
            expected="text in UTF-8",
            do="convert the file, for instance with iconv",
        )
    except (ValueError, RecursionError) as error:
        return RowError(
            "not_json",
            where,
            found=f"a line that is not JSON ({str(error)[:80]})",
            expected="one JSON object a line",
            do="fix or remove the line; a file cut off in the middle has to be downloaded again",
        )
    return row if isinstance(row, dict) else _no_object(row, where)


def _once(pairs: list[tuple[str, Any]]) -> Row:
    """An object of JSON, no key of which comes twice: which of two values counts, nobody can know."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} twice in one object")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _no_object(value: Any, where: str) -> RowError:
    return RowError(
        "not_json",
        where,
        found=f"JSON of type {type(value).__name__}",
        expected="an object: {...}",
    )


# A list --------------------------------------------------------------------------------------------


def _listed_rows(data: BoundedReader, name: str) -> Iterator[LocatedRow]:
    number = 0
    try:
        for number, row in enumerate(_JsonList(data).elements(), start=1):
            where = f"{name}: row {number}"
            yield LocatedRow(number, where, row if isinstance(row, dict) else _no_object(row, where))
    except UnicodeDecodeError as error:
        raise UserError(
            name,
            found=f"bytes that are not UTF-8 ({error.reason}) after row {number}",
            expected="text in UTF-8",
            do="convert the file, for instance with iconv",
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            name,
            found=f"no JSON ({str(error)[:80]}) after row {number}",
            expected="one list of objects",
            do=_FETCH,
        ) from None


class _JsonList:
    """A JSON list of which no more than a few elements are in memory.

    An element that is not whole in the text at hand is tried again with twice as much of it.
    """

    def __init__(self, data: BoundedReader) -> None:
        self._data = data
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0

    def elements(self) -> Iterator[Any]:
        """The elements, one at a time. Raises ValueError or RecursionError where there is no JSON."""
        self._take("[")
        if self._next() == "]":
            self._at += 1
        else:
            yield self._element()
            while self._next() == ",":
                self._at += 1
                self._next()
                yield self._element()
            self._take("]")
        if self._next():
            raise ValueError("text behind the list")

    def _take(self, char: str) -> None:
        if self._next() != char:
            raise ValueError(f"no {char!r}" + (f" but {self._next()!r}" if self._next() else ""))
        self._at += 1

    def _next(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, as much again as is not yet used up; whether there was something."""
        chunks = [self._text[self._at :]]
        self._at, size, wanted = 0, len(chunks[0]), 2 * len(chunks[0])
        while True:
            chunk = self._data.chunk()
            chunks.append(self._decode.decode(chunk, final=not chunk))
            if not chunk or sum(map(len, chunks)) > wanted:
                self._text = "".join(chunks)
                return len(self._text) > size

    def _element(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > MAX_ROW_BYTES or not self._more():
                    raise
                continue
            if end == len(self._text) and not isinstance(value, dict | list) and self._more():
                continue  # a number may go on
            if end - self._at > MAX_ROW_BYTES:
                raise ValueError(f"a row of more than {MAX_ROW_BYTES} characters")
            self._at = end
            return value
