"""Small tables for plots: CSV with a column for every key that occurs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as CSV under a temporary name and renames; absent values stay empty.

    Args:
        path: The file.
        rows: What a row lacks stays empty, as does None.
        columns: Columns that stand first, also where no row has them; the others follow as they occur.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    every = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    pandas.DataFrame(rows, columns=list(every)).to_csv(temporary, index=False, lineterminator="\n")
    temporary.replace(path)
