"""Nulls in parquet files, whose rows have every column: which of them a format needs."""

from collections.abc import Container, Sequence

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.columns import canonical_name
from apo.datasets.recognize import Format, matching
from apo.datasets.renaming import Renaming
from apo.datasets.trees import TREE_KEYS, is_tree


def needed_nulls(row: Row, formats: Sequence[Format]) -> set[str]:
    """The columns of a row of a parquet file, by our names, that its format needs although they are null."""
    if is_tree(row):
        return {*TREE_KEYS}
    named = Renaming({}, formats)(row, "")
    matches = matching(named, formats)
    if len(matches) != 1 or matches == matching(without_nulls(named), formats):
        return set()
    try:
        return {*matches[0].bind(named, "").names.values(), *matches[0].keys}
    except UserError:  # two prompts, of which one may be null
        return set()


def without_nulls(row: Row, needed: Container[str] = ()) -> Row:
    """A row without null values, but for the columns that its format needs."""
    return {
        key: value
        for key, value in row.items()
        if value is not None or key in needed or canonical_name(key, row) in needed
    }
