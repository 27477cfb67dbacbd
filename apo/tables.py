"""Small tables for plots: CSV with a column for every key that occurs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV under a temporary name and renames; absent values stay empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    pandas.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
    temporary.replace(path)
