"""Rows of tables as text: .csv and .tsv files, whose first line has the names of the columns."""

import csv
import re
from collections.abc import Iterator

from apo.core.errors import RowError, UserError
from apo.core.records import Row, utf8_error
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHER_DELIMITERS = (";", "\t", ",", "|")  # of a file whose first line has one name only
_QUOTED = re.compile(r'"[^"]*"')
_HAS_NO_NAMES = re.compile(r"\s*(?:sep=\S?\s*)?", re.IGNORECASE)  # a blank line, or a mark for Excel
_INDEX = "Unnamed: 0"  # what pandas calls its index, which has no name in the first line


class Cell(str):
    """A value of a table. Numbers are texts there."""

    __slots__ = ()


def table_rows(data: BoundedReader, delimiter: str, name: str) -> Iterator[tuple[int, str, Row | RowError]]:
    """Yields (number, location, row), with the names of the first line as keys.

    A value in quotes may span lines. All values are `Cell`. If the first line lacks the delimiter, another
    common one that it has is taken.

    Raises:
        UserError: A column has no name or that of another one, or a quote is not closed.
    """
    lines = _Lines(data, name)
    csv.field_size_limit(MAX_ROW_BYTES)
    try:
        first = next((line for line in lines if not _HAS_NO_NAMES.fullmatch(line)), "")
        lines.push_back(first)
        unquoted = _QUOTED.sub("", first)
        if delimiter not in unquoted:
            delimiter = next((other for other in _OTHER_DELIMITERS if other in unquoted), delimiter)
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        names = next(rows, [])
        if len(names) > 1 and not names[0].strip():
            names[0] = f"{_INDEX}.1" if _INDEX in names else _INDEX
        _check_names(names, name)
        for number, cells in enumerate(rows, start=1):
            lines.begin_row()
            if cells:
                where = f"{name}: row {number}"
                yield number, where, _row(names, cells, delimiter, where)
    except csv.Error as error:
        raise UserError(
            f"{name}:{lines.number}",
            found=f"a line that is no row of a table ({str(error)[:80]})",
            expected='values with quotes around those that hold a quote, written twice ("")',
            do="fix the line or the one where the quote begins, or write the table again",
        ) from None


def _check_names(names: list[str], name: str) -> None:
    repeated = [column for column in names if names.count(column) > 1]
    if repeated or (names and not all(column.strip() for column in names)):
        raise UserError(
            f"{name}:1",
            found=f"the column {repeated[0][:40]!r} twice" if repeated else "a column without a name",
            expected="a first line with a name for each column",
            do="give every column a name of its own",
        )


def _row(names: list[str], cells: list[str], delimiter: str, where: str) -> Row | RowError:
    if len(cells) != len(names):
        return RowError(
            "other_keys",
            where,
            found=f"{len(cells)} values",
            expected=f"{len(names)}, one for each column of the first line ({', '.join(names)[:60]})",
        )
    if delimiter == "\t" and any(_holds_rows(cells, place) for place in range(len(cells))):
        return RowError(
            "other_keys",
            where,
            found="a value in quotes that holds the ends of lines and the tabs of further rows",
            expected="a value of one column",
            do="if its first character is a quote of the text, write the table with quotes around such "
            "values, or as JSON Lines",
        )
    return dict(zip(names, map(Cell, cells), strict=True))


def _holds_rows(cells: list[str], place: int) -> bool:
    """Whether the lines of a cell have all tabs of the rows of a table whose texts are not in quotes."""
    first, *others = cells[place].split("\n")
    tabs = [line.count("\t") for line in (first, *others)]
    last = len(cells) - 1
    return (
        last > 0
        and tabs == [last - place, *[last] * (len(others) - 1), place]
        and not any(line.startswith("\t") for line in others)  # a line of code
    )


class _Lines:
    """Decoded lines, with the `number` of the last one. A row of many lines has a bound."""

    def __init__(self, data: BoundedReader, name: str) -> None:
        self.number = 0
        self._data, self._name = data, name
        self._remaining, self._pushed = MAX_ROW_BYTES, ""

    def push_back(self, line: str) -> None:
        """Makes a line the next one of the iterator."""
        self._pushed = line

    def begin_row(self) -> None:
        self._remaining = MAX_ROW_BYTES

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._pushed:
            line, self._pushed = self._pushed, ""
            return line
        data = self._data.line()
        if not data:
            raise StopIteration
        self.number += 1
        self._remaining -= len(data)
        where = f"{self._name}:{self.number}"
        if self._remaining < 0:
            raise UserError(
                where,
                found=f"a row of more than {MAX_ROW_BYTES} bytes",
                expected="one comparison a row",
                do="look for a quote that is not closed",
            )
        try:
            return data.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise utf8_error(error, where) from None
