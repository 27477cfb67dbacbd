"""Small tables for plots: CSV with a column for every key that occurs."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.errors import UserError


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as CSV under a temporary name and renames; absent values stay empty.

    Args:
        path: The file.
        rows: What a row lacks stays empty, as does None.
        columns: Columns that stand first, also where no row has them; the others follow as they occur.
    """
    import pandas  # here, so that reading a table is light

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    every = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    pandas.DataFrame(rows, columns=list(every)).to_csv(temporary, index=False, lineterminator="\n")
    temporary.replace(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table, every value as it is written; an empty one is the empty text.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(
            str(path),
            found="no such file",
            expected="a table in CSV",
            do="run `dvc repro`: an earlier stage writes it",
        )
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
