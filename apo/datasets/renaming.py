"""The rows of a file under the names of the formats: as the user maps them, or as columns are known."""

from collections.abc import Mapping, Sequence

from apo.core.records import Row
from apo.datasets.columns import map_columns, name_sides, translate_columns
from apo.datasets.recognize import Format, matching


class Renaming:
    """Renames the columns of the rows of one file. The first row decides what is renamed.

    Args:
        columns: Columns of the file by their names in the format; {} if they are the same.
        formats: The formats that the file may have.

    Attributes:
        keep_unmapped: Whether columns that are not mapped are read under their names.
    """

    def __init__(self, columns: Mapping[str, str], formats: Sequence[Format]) -> None:
        self.keep_unmapped = False
        self._columns, self._formats = columns, formats
        self._is_first, self._names_sides = True, False

    def __call__(self, row: Row, where: str) -> Row:
        """A row under the names of the format.

        Raises:
            RowError: The row lacks a mapped column.
        """
        if self._columns:
            if self._is_first:
                self.keep_unmapped = not matching(map_columns(row, self._columns, where), self._formats)
            named = map_columns(row, self._columns, where, keep_unmapped=self.keep_unmapped)
        else:
            named = translate_columns(row)
            if self._is_first:
                self._names_sides = not matching(named, self._formats)
            named = name_sides(named) if self._names_sides else named
        self._is_first = False
        return named
