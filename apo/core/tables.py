"""Small CSV tables for plots, with a column for every key that occurs."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.core.records import write_text


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as CSV, atomically.

    Args:
        rows: The rows. A missing key and None become an empty cell.
        columns: The first columns, written even if no row has them. Other keys follow in order of occurrence.
    """
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    out = io.StringIO()
    table = csv.DictWriter(out, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, out.getvalue())
