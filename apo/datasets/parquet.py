"""The rows of a parquet file: texts, numbers, lists and records of them, a bounded chunk at a time.

pyarrow may abort its process on a damaged file, and allocates whatever memory a file asks for. So it runs in
a child process with a memory limit, which writes the rows as JSON Lines.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.compressed import MAX_ROW_BYTES

MAX_EXPANSION = 20  # the largest ratio of decompressed to compressed size ...
UNCHECKED_BYTES = 64 * 2**20  # ... of a column that decompresses to more than these bytes
MAX_COLUMN_BYTES = 2 * 2**30  # bytes, decompressed, of one column in one row group
MAX_MEMORY = 8 * 2**30  # bytes of address space of the process that reads, on Linux
_AT_ONCE = 2**27  # bytes of the texts of one batch, if each were the longest that a dictionary can hold
_BATCH_ROWS = 1024  # rows
_END_LINE = b"end\n"  # the last line of the process ...
_ERROR_PREFIX = b"bad "  # ... or the beginning of that line; a row begins with a brace


def parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows as dicts, without the columns that are null in all rows.

    A column without texts and numbers is not read: its value is {"not read": its type}, and so is the value
    of such a field of a record, unless the field is null in all rows.

    Raises:
        UserError: The file is no complete parquet file, or decompresses to more than a bound.
    """
    command = [sys.executable, "-m", "apo.datasets.parquet", os.fspath(path)]
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": paths}
    ) as process:
        assert process.stdout is not None
        try:
            while (line := process.stdout.readline(MAX_ROW_BYTES + 1)).startswith(b"{"):
                if len(line) > MAX_ROW_BYTES:
                    found = f"a row of more than {MAX_ROW_BYTES} bytes"
                    raise _parquet_error(name, found, "one comparison a row")
                if not line.endswith(b"\n"):
                    break
                yield json.loads(line)
        finally:
            process.kill()
        if line != _END_LINE:
            found = "no readable parquet (its reader broke down)"
            if line.startswith(_ERROR_PREFIX):
                found = line.removeprefix(_ERROR_PREFIX).decode(errors="replace").strip() or found
            raise _parquet_error(name, found, "a whole file")


def _parquet_error(name: str, found: str, expected: str) -> UserError:
    return UserError(name, found=found, expected=expected, do="download or write the file again")


def rows_of(path: Path) -> Iterator[Row]:
    """The rows, read in this process. Raises ValueError if a bound is exceeded."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        names = file.schema_arrow.names
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the column {repeated[:40]!r} twice")
        kinds = [(name, list(_leaves(file.schema_arrow.field(name).type))) for name in names]
        leaves = [kind for _, leaf_kinds in kinds for kind in leaf_kinds]
        if len(leaves) != len(file.schema):
            raise ValueError("columns that are not those of its metadata")
        columns = [file.schema.column(number).path for number, kind in enumerate(leaves) if _is_plain(kind)]
        unread = {
            name: {"not read": str(file.schema_arrow.field(name).type)[:60]}
            for name, leaf_kinds in kinds
            if not any(map(_is_plain, leaf_kinds))
        }
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        used = {
            name
            for number, name in enumerate(name for name, leaf_kinds in kinds for _ in leaf_kinds)
            if not all(_is_null(group.column(number)) for group in groups)
        }
        encoded = {name for name in names if _holds_json(file.schema_arrow.field(name).type)}
        for number, group in enumerate(groups):
            longest = _longest_repeated(group)
            rows = max(1, min(_BATCH_ROWS, _AT_ONCE // max(longest, 1)))
            nulls = map(_is_null, map(group.column, range(len(leaves))))
            parts = {name: _unread_parts(file.schema_arrow.field(name).type, nulls) for name in names}
            parts = {name: part for name, part in parts.items() if part and name not in unread}
            for batch in file.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    for key in encoded & row.keys():
                        row[key] = _decoded(row[key], file.schema_arrow.field(key).type)
                    row |= {key: _with_unread(row[key], part) for key, part in parts.items()}
                    yield {key: row[key] for key in row if row[key] is not None or key in used} | unread


def _leaves(kind: Any) -> Iterator[Any]:
    """The types of the values in lists and records, in the order of the columns of the file."""
    from pyarrow import BaseExtensionType, types

    if isinstance(kind, BaseExtensionType):
        yield from _leaves(kind.storage_type)
    elif _is_list(kind):
        yield from _leaves(kind.value_type)
    elif types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _leaves(kind.field(number).type)
    elif types.is_map(kind):
        yield from (None, None)  # its keys and its values
    else:
        yield kind.value_type if types.is_dictionary(kind) else kind


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view)
    return any(is_kind(kind) for is_kind in kinds)


def _is_null(column: Any) -> bool:
    """Whether all values of a column of a row group are null, as far as its statistics say."""
    statistics = column.statistics
    return bool(statistics and statistics.has_null_count and statistics.null_count == column.num_values)


def _unread_parts(kind: Any, nulls: Iterator[bool]) -> Any:
    """What is not read of a type: the fields of its records, by name; the name of a type; None for nothing.

    Args:
        kind: The type.
        nulls: Whether all values are null, for each of the columns of the file, from the first of this type.
    """
    from pyarrow import BaseExtensionType, types

    if isinstance(kind, BaseExtensionType):
        return _unread_parts(kind.storage_type, nulls)
    if _is_list(kind):
        return _unread_parts(kind.value_type, nulls)
    if types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        parts = {field.name: _unread_parts(field.type, nulls) for field in fields}
        return {name: part for name, part in parts.items() if part} or None
    leaves = list(_leaves(kind))
    are_null = [next(nulls) for _ in leaves]
    return None if all(are_null) or _is_plain(leaves[0]) else str(kind)[:60]


def _with_unread(value: Any, part: Any) -> Any:
    """A value whose records say which fields are not read."""
    if isinstance(value, list):
        return [_with_unread(element, part) for element in value]
    if not isinstance(value, dict):
        return value
    return value | {
        key: _with_unread(value[key], unread) if key in value else {"not read": str(unread)[:60]}
        for key, unread in part.items()
    }


def _holds_json(kind: Any) -> bool:
    """Whether a type is arrow.json, or a list or record with it."""
    from pyarrow import JsonType, types

    if types.is_struct(kind):
        return any(_holds_json(kind.field(number).type) for number in range(kind.num_fields))
    if _is_list(kind):
        return _holds_json(kind.value_type)
    return isinstance(kind, JsonType)


def _decoded(value: Any, kind: Any) -> Any:
    """A value with its JSON texts decoded; a text that is not JSON stays."""
    from pyarrow import types

    if isinstance(value, dict) and types.is_struct(kind):
        kinds = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return {key: _decoded(element, kinds[key]) for key, element in value.items()}
    if isinstance(value, list):
        return [_decoded(element, kind.value_type) for element in value]
    if not isinstance(value, str) or not _holds_json(kind):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_plain(kind: Any) -> bool:
    """Whether values are texts or numbers; others are not read."""
    from pyarrow import types

    texts = (types.is_string, types.is_large_string, types.is_string_view)
    numbers = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return kind is not None and any(is_type(kind) for is_type in (*texts, *numbers))


def _longest_repeated(group: Any) -> int:
    """The most bytes of a text in a dictionary of a row group; any number of rows may share that text."""
    longest = 0
    for number in range(group.num_columns):
        column = group.column(number)
        compressed, decompressed = column.total_compressed_size, column.total_uncompressed_size
        if decompressed > max(compressed * MAX_EXPANSION, UNCHECKED_BYTES) or decompressed > MAX_COLUMN_BYTES:
            raise ValueError(
                f"column {column.path_in_schema!r:.60} of {decompressed} bytes from {compressed}: "
                f"more than {MAX_EXPANSION} times that, or {MAX_COLUMN_BYTES} bytes, in one row group"
            )
        if column.has_dictionary_page:
            dictionary = abs(column.data_page_offset - (column.dictionary_page_offset or 0))
            longest = max(longest, min(decompressed, dictionary * MAX_EXPANSION))
    return longest


def _limit_resources() -> None:
    """Limits the address space of this process (on Linux; macOS refuses a limit) and disables core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
        limit = MAX_MEMORY if hard_limit == resource.RLIM_INFINITY else min(MAX_MEMORY, hard_limit)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard_limit))


def main(path: Path) -> None:
    """Writes the rows to standard output as JSON Lines, then a line that says whether they are complete."""
    _limit_resources()
    out = sys.stdout.buffer
    import pyarrow

    try:
        for row in rows_of(path):
            out.write(json.dumps(row, ensure_ascii=False, default=float).encode() + b"\n")
        out.write(_END_LINE)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        out.write(_ERROR_PREFIX + f"no readable parquet ({' '.join(str(error).split())[:240]})\n".encode())
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
