"""The rows of a parquet file: texts, numbers and what is made of them, a bounded chunk at a time.

The library that reads the format may end its process over a damaged file (an abort is no exception), and take
any memory that a file asks for. So it runs in a process of its own, with a bound, and gives rows as lines.
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

MAX_EXPANSION = 20  # times its compressed size that a column may decompress to ...
UNCHECKED_BYTES = 64 * 2**20  # ... beyond these bytes
MAX_COLUMN_BYTES = 2 * 2**30  # bytes, decompressed, of one column in one row group
MAX_ROW_BYTES = 8 * 2**20  # bytes of one row, as JSON
MEMORY = 8 * 2**30  # bytes of address space of the process that reads, on Linux
_AT_ONCE = 2**27  # bytes of the texts of one batch, if each were the longest that a dictionary can hold
_BATCH = 1024  # rows
_END, _BAD = b"end\n", b"bad "  # what the process says at the end, where a row would begin with a brace


def parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows as dicts, without the values that are null.

    A column that holds neither texts nor numbers is not read: its value is {"not read": its type}. Of records
    those fields are read that do.

    Raises:
        UserError: It is no whole parquet file, or one that decompresses to more than a bound.
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
                    raise _refused(name, f"a row of more than {MAX_ROW_BYTES} bytes", "one comparison a row")
                if not line.endswith(b"\n"):
                    break
                yield json.loads(line)
        finally:
            process.kill()
        if line != _END:
            found = line.removeprefix(_BAD).decode(errors="replace").strip() if line.startswith(_BAD) else ""
            raise _refused(name, found or "no readable parquet (its reader broke down)", "a whole file")


def _refused(name: str, found: str, expected: str) -> UserError:
    return UserError(name, found=found, expected=expected, do="download or write the file again")


def rows_of(path: Path) -> Iterator[Row]:
    """The rows, read in this process. Raises ValueError where a bound is passed."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        names = file.schema_arrow.names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the column {twice[:40]!r} twice")
        kinds = [(name, list(_leaves(file.schema_arrow.field(name).type))) for name in names]
        leaves = [kind for _, found in kinds for kind in found]
        if len(leaves) != len(file.schema):
            raise ValueError("columns that are not those of its metadata")
        columns = [file.schema.column(number).path for number, kind in enumerate(leaves) if _is_plain(kind)]
        unread = {
            name: {"not read": str(file.schema_arrow.field(name).type)[:60]}
            for name, found in kinds
            if not any(map(_is_plain, found))
        }
        encoded = {name for name in names if _holds_json(file.schema_arrow.field(name).type)}
        for group in range(file.num_row_groups):
            longest = _longest_repeated(file.metadata.row_group(group))
            rows = max(1, min(_BATCH, _AT_ONCE // max(longest, 1)))
            for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    for key in encoded & row.keys():
                        row[key] = _decoded(row[key], file.schema_arrow.field(key).type)
                    yield {key: value for key, value in row.items() if value is not None} | unread


def _leaves(kind: Any) -> Iterator[Any]:
    """The types of the values that lists and records are made of, in the order of the columns of the file."""
    from pyarrow import BaseExtensionType, types

    if isinstance(kind, BaseExtensionType):
        yield from _leaves(kind.storage_type)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        yield from _leaves(kind.value_type)
    elif types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _leaves(kind.field(number).type)
    elif types.is_map(kind):
        yield from (None, None)  # its keys and its values
    else:
        yield kind.value_type if types.is_dictionary(kind) else kind


def _holds_json(kind: Any) -> bool:
    """Whether texts of a type are JSON: the type arrow.json, alone or in lists and records."""
    from pyarrow import JsonType, types

    if types.is_struct(kind):
        return any(_holds_json(kind.field(number).type) for number in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _holds_json(kind.value_type)
    return isinstance(kind, JsonType)


def _decoded(value: Any, kind: Any) -> Any:
    """A value with what its JSON texts hold; a text that is no JSON as it is."""
    from pyarrow import types

    if isinstance(value, dict) and types.is_struct(kind):
        kinds = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return {key: _decoded(one, kinds[key]) for key, one in value.items()}
    if isinstance(value, list):
        return [_decoded(one, kind.value_type) for one in value]
    if not isinstance(value, str) or not _holds_json(kind):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_plain(kind: Any) -> bool:
    """Whether values are texts or numbers; others are not read."""
    from pyarrow import types

    plain = (types.is_string, types.is_large_string, types.is_boolean, types.is_integer, types.is_null)
    return kind is not None and any(test(kind) for test in (*plain, types.is_float32, types.is_float64))


def _longest_repeated(group: Any) -> int:
    """Bytes that a text may have which the columns of a row group hold once, for any number of rows."""
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


def _bound_this_process() -> None:
    """Bounds its address space, where the system can (macOS refuses any bound), and leaves no core dump."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def main(path: Path) -> None:
    """Writes the rows to standard output as JSON Lines, and at the end whether it was the end."""
    _bound_this_process()
    out = sys.stdout.buffer
    import pyarrow

    try:
        for row in rows_of(path):
            out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        out.write(_END)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        out.write(_BAD + f"no readable parquet ({' '.join(str(error).split())[:240]})\n".encode())
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
