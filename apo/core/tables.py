"""Small tables for plots: CSV with a column for every key that occurs."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.core.records import write_text


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as CSV, atomically; absent values stay empty.

    Args:
        path: The file.
        rows: What a row lacks stays empty, as does None.
        columns: Columns that stand first, also where no row has them; the others follow as they occur.
    """
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    out = io.StringIO()
    table = csv.DictWriter(out, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, out.getvalue())
