"""The rows of a parquet file: texts, numbers and what is made of them, a bounded piece at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apo.errors import UserError
from apo.records import Row

MOST_EXPANSION = 20  # times its packed size that a column may unpack to ...
FREE_EXPANSION = 64 * 2**20  # ... beyond these bytes
LARGEST_COLUMN = 2 * 2**30  # bytes, unpacked, of one column in one row group
_AT_ONCE = 2**27  # bytes of the texts of one batch, if each were the longest that a dictionary can hold
_BATCH = 1024  # rows


def parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows as dicts, without the values that are null and the columns that are neither text nor number.

    Raises:
        UserError: It is no whole parquet file, or one that unpacks to more than a bound.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            columns = [field.name for field in file.schema_arrow if _is_plain(field.type)]
            for group in range(file.num_row_groups):
                longest = _longest_repeated(file.metadata.row_group(group), name)
                rows = max(1, min(_BATCH, _AT_ONCE // max(longest, 1)))
                for batch in file.iter_batches(rows, row_groups=[group], columns=columns):
                    for row in batch.to_pylist():
                        yield {key: value for key, value in row.items() if value is not None}
    except (pyarrow.ArrowException, UnicodeDecodeError, MemoryError) as error:
        raise UserError(
            name,
            found=f"no readable parquet ({' '.join(str(error).split())[:80]})",
            expected="a whole file",
            do="fetch or write the file again",
        ) from None


def _is_plain(kind: Any) -> bool:
    """Whether values are texts, numbers, or lists and records of them; others are not read."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(kind.field(number).type) for number in range(kind.num_fields))
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    plain = (types.is_string, types.is_large_string, types.is_boolean, types.is_integer, types.is_floating)
    return any(test(kind) for test in (*plain, types.is_null))


def _longest_repeated(group: Any, name: str) -> int:
    """Bytes that a text may have which the columns of a row group hold once, for any number of rows."""
    longest = 0
    for number in range(group.num_columns):
        column = group.column(number)
        packed, unpacked = column.total_compressed_size, column.total_uncompressed_size
        if unpacked > max(packed * MOST_EXPANSION, FREE_EXPANSION) or unpacked > LARGEST_COLUMN:
            raise UserError(
                name,
                found=f"column {column.path_in_schema!r:.60} of {unpacked} bytes, packed into {packed}",
                expected=f"at most {MOST_EXPANSION} times the packed size and {LARGEST_COLUMN} bytes",
                do="write it again in smaller row groups, if it is what you want",
            )
        if column.has_dictionary_page:
            dictionary = abs(column.data_page_offset - (column.dictionary_page_offset or 0))
            longest = max(longest, min(unpacked, dictionary * MOST_EXPANSION))
    return longest
