"""apo/datasets/rows.py: bounds, streams, and files that are no files."""

import gzip
import json
import lzma
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import RowError, UserError
from apo.datasets.compressed import MAX_ROW_BYTES
from apo.datasets.rows import file_rows
from tests.helpers.file_rows import HUGE, LINE, MIB, ROW, Limited, quick, repeated, rows, written
from tests.helpers.reading import read

# Streams -----------------------------------------------------------------------------------------


def test_file_rows_holds_a_few_rows_in_memory(tmp_path: Path) -> None:
    many = [{"text": f"{n} " + "word " * 1000} for n in range(4_000)]
    listed = json.dumps(many).encode()
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in many)
    packed = {
        "x.json": listed,
        "x.jsonl": lines,
        "x.json.xz": lzma.compress(listed, preset=0),
        "x.jsonl.gz": gzip.compress(lines, 1),
    }
    for name, data in packed.items():
        path = written(tmp_path / name, data)
        tracemalloc.start()
        assert sum(1 for _ in file_rows(path, name)) == 4_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * 2**20 < len(listed), (name, peak)


# Bombs ---------------------------------------------------------------------------------------------


BOMBS: dict[str, tuple[str, Any, str]] = {
    "a line of 1 GB": ("x.jsonl", lambda: repeated(HUGE, 1024), "x.jsonl:1: found a row of more than"),
    "a text of 1 GB": ("x.json", lambda: repeated(HUGE, 1024, b'[{"a": "'), "x.json: found no JSON"),
    "a line of 1 GB without an end": (
        "x.json",
        lambda: repeated(HUGE, 1024, b'{"a": "'),
        "x.json:1: found a row",
    ),
    "white space": ("x.json", lambda: repeated(b" " * MIB, 256), "found a row of more than"),
    "10^6 brackets": ("x.json", lambda: [b"[" * 10**6], "x.json: found no JSON"),
    "10^6 objects": ("x.jsonl", lambda: [b'{"a":' * 10**6], "x.jsonl:1: found a line that is not JSON"),
    "10^6 brackets in a row": ("x.jsonl", lambda: [b'{"query": ' + b"[" * 10**6], "found a line that is not"),
    "a million empty lists": (
        "x.jsonl",
        lambda: [b'{"query": [' + b"[]," * 2_500_000 + b"[]]}"],
        "x.jsonl:1: found keys ['query'] of no known format",
    ),
    "a number of 7 MB": ("x.jsonl", lambda: [b'{"a": ' + b"9" * 7 * MIB + b"}"], "found a line that is not"),
    "500,000 keys": (
        "x.jsonl",
        lambda: [b"{" + b",".join(b'"%d":1' % n for n in range(500_000)) + b"}"],
        "of no known format",
    ),
    "3,000 flags of one answer": (
        "x.jsonl",
        lambda: [b'{"answer":"a",' + b",".join(b'"label%s":1' % (b" " * n) for n in range(3000)) + b"}"],
        "found one answer (answer) and what is said about it alone (label, ",
    ),
}


@pytest.mark.parametrize("name", quick(BOMBS, "10^6 brackets", "10^6 objects", "a line of 1 GB"))
def test_file_rows_refuses_a_bomb_in_little_memory(tmp_path: Path, name: str) -> None:
    file, chunks, expected = BOMBS[name]
    with (tmp_path / file).open("wb") as out:
        out.writelines(chunks())
    message, peak, seconds = Limited.read(tmp_path / file)
    assert expected in message
    assert len(message) < 3000
    assert peak < 500 and seconds < 60


# What is no file -----------------------------------------------------------------------------------


def test_file_rows_refuses_pipes_devices_and_impossible_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jsonl")
    for path, message in [
        (tmp_path / "x.jsonl", "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
        (tmp_path, "a folder"),
        (tmp_path / "a\0b.jsonl", "no such file"),
        (tmp_path / ("a" * 5000), "no such file"),
        (tmp_path / "\udcff\ud800.jsonl", "no such file"),
    ]:
        with pytest.raises(UserError, match=f"found {message}"):
            rows(path)


def test_file_rows_gives_an_unreadable_line_as_an_error(tmp_path: Path) -> None:
    records = rows(written(tmp_path / "x.jsonl", LINE + b'{"a": "\xff"}\n{\n[1]\n' + LINE))
    assert [one.code if isinstance(one, RowError) else one for one in records] == [
        ROW,
        "not_utf8",
        "not_json",
        "not_json",
        ROW,
    ]


def test_file_rows_has_an_exact_limit_on_a_row(tmp_path: Path) -> None:
    short = b'{"a": "' + b"x" * (MAX_ROW_BYTES - 10) + b'"}\n'
    assert len(short) == MAX_ROW_BYTES
    assert len(rows(written(tmp_path / "x.jsonl", short))) == 1
    with pytest.raises(UserError, match=f"a row of more than {MAX_ROW_BYTES} bytes"):
        rows(written(tmp_path / "x.jsonl", short.replace(b"x", b"xx", 1)))


TWICE = {
    "f.jsonl": b'{"prompt": "a", "chosen": "b", "chosen": "c", "rejected": "d"}',
    "f.json": b'[{"prompt": "a", "chosen": "b", "chosen": "c"}]',
}


@pytest.mark.parametrize("name", TWICE)
def test_file_rows_refuses_a_key_that_comes_twice(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="the key 'chosen' twice"):
        read(written(tmp_path / name, TWICE[name]))
