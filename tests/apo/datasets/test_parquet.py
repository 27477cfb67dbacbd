"""apo/datasets/parquet.py: texts and numbers of parquet files, within bounds of memory."""

import resource
import sys
from pathlib import Path
from typing import Any

import pytest

import apo.datasets.parquet
from apo.core.errors import UserError
from tests.helpers.file_rows import MIB, Limited, rows


def parquet(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    from pyarrow import Table
    from pyarrow.parquet import write_table

    write_table(Table.from_pydict(columns), path, **how)
    return path


@pytest.mark.slow
def test_parquet_rows_refuses_a_huge_page(tmp_path: Path) -> None:
    texts = ["a" * (300 * MIB)]
    path = parquet(tmp_path / "x.parquet", {"prompt": texts, "chosen": ["a"], "rejected": ["b"]})
    assert path.stat().st_size < 20 * MIB
    message, peak, _ = Limited.read(path, mebibytes=4000)
    assert "column 'prompt' of 3145" in message and "more than 20 times that" in message
    assert peak < 250


@pytest.mark.slow
def test_parquet_rows_takes_little_memory_for_a_repeated_text(tmp_path: Path) -> None:
    """A dictionary holds it once; as rows it would be 40 GB."""
    path = _dictionary(tmp_path / "x.parquet", "word " * 4_000_000, 2000)
    message, peak, _ = Limited.read(path, mebibytes=6000)
    assert "a row of more than" in message or "column 'prompt'" in message
    assert peak < 250


def _dictionary(path: Path, text: str, count: int) -> Path:
    import pyarrow
    from pyarrow.parquet import write_table

    prompts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * count, pyarrow.int32()), [text])
    table = pyarrow.table({"prompt": prompts, "chosen": ["a"] * count, "rejected": ["b"] * count})
    write_table(table, path, dictionary_pagesize_limit=2**30, store_schema=False)
    return path


def test_main_reads_parquet_without_an_address_space_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """macOS: `setrlimit` raises ValueError there, whatever the bound."""
    asked = []

    def setrlimit(kind: int, bounds: tuple[int, int]) -> None:
        asked.append(kind)
        if kind == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    path = parquet(tmp_path / "x.parquet", {"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]})
    with pytest.raises(ValueError, match="exceeds"):
        apo.datasets.parquet.main(path)
    monkeypatch.setattr(sys, "platform", "darwin")
    apo.datasets.parquet.main(path)
    assert capsysbinary.readouterr().out == b'{"prompt": "q", "chosen": "a", "rejected": "b"}\nend\n'
    assert asked == [resource.RLIMIT_CORE, resource.RLIMIT_AS, resource.RLIMIT_CORE]


def test_parquet_rows_reads_text_and_numbers_alone(tmp_path: Path) -> None:
    import datetime

    columns = {
        "prompt": ["Why?"],
        "when": [datetime.datetime(2020, 1, 1)],
        "raw": [b"\xff"],
        "scores": [[1.0, None]],
        "nested": [{"a": ["x"], "b": None}],
    }
    records = rows(parquet(tmp_path / "x.parquet", columns))
    unread = {"when": {"not read": "timestamp[us]"}, "raw": {"not read": "binary"}}
    assert records == [{"prompt": "Why?", "scores": [1.0, None], "nested": {"a": ["x"], "b": None}} | unread]


def test_parquet_rows_reads_the_texts_of_a_record(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Why?", "image": b"x"}]
    records = rows(parquet(tmp_path / "x.parquet", {"chosen": [talk], "map": [{"a": 1}]}))
    unread = {"image": {"not read": "binary"}}
    assert records == [{"chosen": [{"role": "user", "content": "Why?"} | unread], "map": {"a": 1}}]


def test_parquet_rows_marks_the_fields_of_a_record_that_are_not_read(tmp_path: Path) -> None:
    """An image as `datasets` writes it, and one in a list; a field that is null in all rows is no image."""
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    pictures = [{"bytes": b"x", "path": None}, None]
    columns = {
        "one": pyarrow.array(pictures, image),
        "some": pyarrow.array([pictures[:1], []], pyarrow.list_(image)),
    }
    columns["none"] = pyarrow.array([{"bytes": None, "path": None}] * 2, image)
    unread = {"path": None, "bytes": {"not read": "binary"}}
    first, second = rows(parquet(tmp_path / "x.parquet", columns))
    assert first == {"one": unread, "some": [unread], "none": {"path": None}}
    assert second == {"one": None, "some": [], "none": {"path": None}}


def test_parquet_rows_marks_a_map_in_a_list_of_records(tmp_path: Path) -> None:
    import pyarrow

    call = pyarrow.list_(pyarrow.map_(pyarrow.string(), pyarrow.string()))
    kind = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("tool_calls", call)]))
    columns = {"talk": pyarrow.array([[{"role": "assistant", "tool_calls": [[("name", "f")]]}]], kind)}
    (row,) = rows(parquet(tmp_path / "x.parquet", columns))
    assert row["talk"][0]["tool_calls"]["not read"].startswith("map<")


def test_parquet_rows_reads_every_kind_of_text_and_number(tmp_path: Path) -> None:
    import pyarrow

    columns = {"view": pyarrow.array(["a"], pyarrow.string_view())}
    for name, kind in {"decimal": pyarrow.decimal128(5, 2), "half": pyarrow.float16()}.items():
        columns[name] = pyarrow.array([1.5]).cast(kind)
    assert rows(parquet(tmp_path / "x.parquet", columns)) == [{"view": "a", "decimal": 1.5, "half": 1.5}]


def test_parquet_rows_refuses_a_file_that_crashes_the_library(tmp_path: Path) -> None:
    """The number of columns in the metadata of a row group changed: the library aborts its process."""
    import random

    whole = parquet(tmp_path / "x.parquet", {"prompt": ["Why?"], "chosen": ["a"], "rejected": ["b"]})
    data, draw = whole.read_bytes(), random.Random(1)
    for _ in range(12):
        at = draw.randrange(len(data) - 300, len(data))
        whole.write_bytes(data[:at] + draw.randbytes(2) + data[at + 2 :])
        try:
            rows(whole)
        except UserError as error:
            assert "no readable parquet" in str(error) or "damaged" in str(error)


def test_parquet_rows_reads_all_row_groups_in_order(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"n": list(range(5000))}, row_group_size=700)
    assert [row["n"] for row in rows(path)] == list(range(5000))


def test_parquet_rows_gives_the_same_rows_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path / "x.parquet", {"n": list(range(100)), "t": ["x" * n for n in range(100)]})
    monkeypatch.setattr(apo.datasets.parquet, "_AT_ONCE", 1)
    assert list(apo.datasets.parquet.rows_of(path)) == rows(path) != []
