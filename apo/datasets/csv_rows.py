"""The rows of a table as text: values between commas (.csv) or tabs (.tsv), the first line their names."""

import csv
from collections.abc import Iterator

from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHERS = (";", "\t", ",")  # of a file whose first line has one name only


class Cell(str):
    """A value of a table, where numbers are texts too."""

    __slots__ = ()


def table_rows(data: BoundedReader, delimiter: str, name: str) -> Iterator[tuple[int, str, Row | RowError]]:
    """Rows under the names of the first line, each with its number and its place.

    A value in quotes may span lines. All values are `Cell`.

    Args:
        data: The bytes.
        delimiter: What stands between values; another one where the first line has none of it.
        name: What the file is called in messages.

    Raises:
        UserError: The first line has no names that tell the columns apart, or a quote is not closed.
    """
    lines = _Lines(data, name)
    csv.field_size_limit(MAX_ROW_BYTES)
    try:
        first = next(iter(lines), "")
        lines.again(first)
        if delimiter not in first:
            delimiter = next((other for other in _OTHERS if other in first), delimiter)
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        names = next(rows, [])
        _check_names(names, name)
        for number, cells in enumerate(rows, start=1):
            lines.begin_row()
            if cells:
                where = f"{name}: row {number}"
                yield number, where, _row(names, cells, where)
    except csv.Error as error:
        raise UserError(
            f"{name}:{lines.number}",
            found=f"a line that is no row of a table ({str(error)[:80]})",
            expected='values with quotes around those that hold a quote, written twice ("")',
            do="fix the line or the one where the quote begins, or write the table again",
        ) from None


def _check_names(names: list[str], name: str) -> None:
    twice = [one for one in names if names.count(one) > 1]
    if twice or (names and not all(one.strip() for one in names)):
        raise UserError(
            f"{name}:1",
            found=f"the column {twice[0][:40]!r} twice" if twice else "a column without a name",
            expected="a first line with a name for each column",
            do="give every column a name of its own",
        )


def _row(names: list[str], cells: list[str], where: str) -> Row | RowError:
    if len(cells) != len(names):
        return RowError(
            "other_keys",
            where,
            found=f"{len(cells)} values",
            expected=f"{len(names)}, one for each column",
        )
    return dict(zip(names, map(Cell, cells), strict=True))


class _Lines:
    """Decoded lines, whose `number` is that of the last; a row that spans many lines has a bound."""

    def __init__(self, data: BoundedReader, name: str) -> None:
        self.number = 0
        self._data, self._name = data, name
        self._left, self._pushed = MAX_ROW_BYTES, ""

    def again(self, line: str) -> None:
        """The line comes once more."""
        self._pushed = line

    def begin_row(self) -> None:
        self._left = MAX_ROW_BYTES

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
        self._left -= len(data)
        where = f"{self._name}:{self.number}"
        if self._left < 0:
            raise UserError(
                where,
                found=f"a row of more than {MAX_ROW_BYTES} bytes",
                expected="one comparison a row",
                do="look for a quote that is not closed",
            )
        try:
            return data.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                where,
                found=f"bytes that are not UTF-8 ({error.reason} at byte {error.start + 1})",
                expected="text in UTF-8",
                do="convert the file, for instance with iconv",
            ) from None
