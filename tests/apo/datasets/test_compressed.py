"""apo/datasets/compressed.py: compressed files are read as streams, and bombs are refused."""

import gzip
import lzma
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.file_rows import HUGE, LINE, MIB, ROW, Limited, quick, repeated, rows, written


def test_open_decompressed_joins_streams_of_xz_and_gz(tmp_path: Path) -> None:
    assert rows(written(tmp_path / "x.jsonl.xz", lzma.compress(LINE) * 3 + b"\0" * 8)) == [ROW] * 3
    assert rows(written(tmp_path / "x.jsonl.gz", gzip.compress(LINE) * 3)) == [ROW] * 3


PACKED = {
    "zeros.gz": ("x.jsonl.gz", lambda: repeated(b"\0" * MIB, 1024), "a row of more than"),
    "zeros.xz": ("x.json.xz", lambda: repeated(b"\0" * MIB, 1024), "a row of more than"),
    "blank lines": ("x.jsonl.gz", lambda: repeated(b"\n" * MIB, 200), "found 100000 blank lines"),
    "rows": ("x.jsonl.xz", lambda: repeated(LINE * 8192, 200), "decompresses to more than 100 times"),
    "a list": (
        "x.json.gz",
        lambda: repeated((LINE + b",") * 8192, 200, b"["),
        "decompresses to more than 100",
    ),
    "a text": ("x.jsonl.gz", lambda: repeated(HUGE, 1024, b'{"query": "'), "a row of more than"),
}


@pytest.mark.parametrize("name", quick(PACKED, "blank lines"))
def test_open_decompressed_refuses_a_bomb_in_little_memory(tmp_path: Path, name: str) -> None:
    file, chunks, expected = PACKED[name]
    path = tmp_path / file
    with gzip.open(path, "wb", 6) if file.endswith("gz") else lzma.open(path, "wb", preset=0) as out:
        out.writelines(chunks())
    message, peak, seconds = Limited.read(path)
    assert expected in message
    assert peak < 300 and seconds < 60


def test_open_decompressed_reads_what_compresses_well(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl.xz", lzma.compress(LINE * 100_000))
    assert path.stat().st_size * 1000 < len(LINE) * 100_000
    assert len(rows(path)) == 100_000


def test_open_decompressed_refuses_an_xz_dictionary_of_a_gigabyte(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    path = written(tmp_path / "x.jsonl.xz", lzma.compress(LINE, filters=filters))
    with pytest.raises(UserError, match=r"x\.jsonl\.xz: found data that breaks off or is damaged"):
        rows(path)
