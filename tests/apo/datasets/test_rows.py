"""apo/datasets/rows.py and apo/datasets/parquet.py: bounds, streams, and files that are no files."""

import gzip
import json
import lzma
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import apo.datasets.parquet
from apo.core.errors import RowError, UserError
from apo.datasets.compressed import MAX_ROW_BYTES
from apo.datasets.rows import file_rows

ROW = {"query": "\n\nHuman: Why?\n\nAssistant:", "responses": ["good", "bad"], "scores": [1, 0]}
LINE = json.dumps(ROW).encode() + b"\n"


def rows(path: Path) -> list[Any]:
    return [located.row for located in file_rows(path, path.name)]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# Lists as streams ----------------------------------------------------------------------------------

LISTS = [
    [{}],
    [{"a": 1}, {"a": [1, 2, {"b": None}]}, {"é": "ü\ud83d\ude00", "]": "[", "\\": '"'}],
    [{"text": "x" * n} for n in (0, 1, 7, 3_000_000, 2**20, 2**20 - 20)],
    [{"n": n} for n in range(50_000)],
]


@pytest.mark.parametrize("values", LISTS, ids=range(4))
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_list_is_read_as_json_reads_it(
    tmp_path: Path, values: list, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if not ascii_only:
        text = json.dumps(values, indent=indent, ensure_ascii=False).replace("\ud83d\ude00", "😀").encode()
    assert rows(written(tmp_path / "x.json", b"\xef\xbb\xbf \n" + text + b"\n ")) == json.loads(text)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 1000])
def test_pieces_of_any_size_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    values = [{"a": "é😀\\u"}, {}, {"b": [[1.5e-3, True], None]}]
    path = written(tmp_path / "x.json", json.dumps(values, ensure_ascii=False).encode())
    monkeypatch.setattr("apo.datasets.compressed.CHUNK", size)
    assert rows(path) == values


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_number_that_goes_on_is_one_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("apo.datasets.compressed.CHUNK", size)
    found = rows(written(tmp_path / "x.json", b'[12345, "abc", {"a": 1}, null]'))
    assert [one if isinstance(one, dict) else one.found for one in found] == [
        "JSON of type int",
        "JSON of type str",
        {"a": 1},
        "JSON of type NoneType",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"[{}",
        b"[{},",
        b"[{},]",
        b"[{} {}]",
        b"[{}] x",
        b"[{}][{}]",
        b'[{"a',
        b"[{]",
        b"[,{}]",
        b"[}",
        b"[tru",
    ],
)
def test_no_list_is_one_error(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UserError, match=r"x\.json: found no JSON"):
        rows(written(tmp_path / "x.json", text))


def test_memory_is_that_of_a_few_rows(tmp_path: Path) -> None:
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


def test_streams_of_xz_and_gz_that_follow_each_other_are_one(tmp_path: Path) -> None:
    assert rows(written(tmp_path / "x.jsonl.xz", lzma.compress(LINE) * 3 + b"\0" * 8)) == [ROW] * 3
    assert rows(written(tmp_path / "x.jsonl.gz", gzip.compress(LINE) * 3)) == [ROW] * 3


# Bombs ---------------------------------------------------------------------------------------------


class Limited:
    """Runs a reading in a process that may have 700 MiB and some seconds."""

    CODE = (
        "import resource, sys; from pathlib import Path; from collections import Counter\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)\n"
        "from apo.core.config import read_section; from apo.core.errors import UserError\n"
        "from apo.core.data_issues import DataIssues; from apo.datasets.readers import read_comparisons\n"
        "from apo.datasets.issues import ROW_ISSUES\n"
        "actions = read_section(Path('params.yaml'), 'data.on_issue', ROW_ISSUES.settings).actions()\n"
        "issues = DataIssues(ROW_ISSUES, actions)\n"
        "try: print(sum(1 for _ in read_comparisons(Path(sys.argv[1]), Counter(), issues)), 'rows')\n"
        "except UserError as error: print(error)\n"
        "print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) >> 10)"
    )

    @classmethod
    def read(cls, path: Path, *, mebibytes: int = 700) -> tuple[str, int, float]:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", cls.CODE, str(path), str(mebibytes << 20)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 0, done.stderr[-2000:]
        message, peak = done.stdout.splitlines()
        return message, int(peak), time.monotonic() - start


def repeated(chunk: bytes, times: int, start: bytes = b"") -> Iterator[bytes]:
    yield start
    for _ in range(times):
        yield chunk


MIB = 2**20
HUGE = b"a" * MIB
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


def quick(names: Iterable[str], *few: str) -> list[Any]:
    """All names, those but a few as slow ones."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", quick(BOMBS, "10^6 brackets", "10^6 objects", "a line of 1 GB"))
def test_a_bomb_is_one_error(tmp_path: Path, name: str) -> None:
    file, chunks, found = BOMBS[name]
    with (tmp_path / file).open("wb") as out:
        out.writelines(chunks())
    message, peak, seconds = Limited.read(tmp_path / file)
    assert found in message
    assert len(message) < 3000
    assert peak < 500 and seconds < 60


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
def test_a_packed_bomb_is_one_error(tmp_path: Path, name: str) -> None:
    file, chunks, found = PACKED[name]
    path = tmp_path / file
    with gzip.open(path, "wb", 6) if file.endswith("gz") else lzma.open(path, "wb", preset=0) as out:
        out.writelines(chunks())
    message, peak, seconds = Limited.read(path)
    assert found in message
    assert peak < 300 and seconds < 60


def test_what_packs_well_is_still_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl.xz", lzma.compress(LINE * 100_000))
    assert path.stat().st_size * 1000 < len(LINE) * 100_000
    assert len(rows(path)) == 100_000


def test_an_xz_that_asks_for_a_gigabyte_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    path = written(tmp_path / "x.jsonl.xz", lzma.compress(LINE, filters=filters))
    with pytest.raises(UserError, match=r"x\.jsonl\.xz: found data that breaks off or is damaged"):
        rows(path)


# Parquet -------------------------------------------------------------------------------------------


def parquet(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    from pyarrow import Table
    from pyarrow.parquet import write_table

    write_table(Table.from_pydict(columns), path, **how)
    return path


@pytest.mark.slow
def test_a_huge_page_of_parquet_is_refused(tmp_path: Path) -> None:
    texts = ["a" * (300 * MIB)]
    path = parquet(tmp_path / "x.parquet", {"prompt": texts, "chosen": ["a"], "rejected": ["b"]})
    assert path.stat().st_size < 20 * MIB
    message, peak, _ = Limited.read(path, mebibytes=4000)
    assert "column 'prompt' of 3145" in message and "more than 20 times that" in message
    assert peak < 250


@pytest.mark.slow
def test_one_long_text_for_many_rows_of_parquet_takes_little_memory(tmp_path: Path) -> None:
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


def test_a_system_without_a_bound_of_address_space_reads_parquet_all_the_same(
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


def test_columns_that_are_neither_text_nor_number_are_not_read(tmp_path: Path) -> None:
    import datetime

    columns = {
        "prompt": ["Why?"],
        "when": [datetime.datetime(2020, 1, 1)],
        "raw": [b"\xff"],
        "scores": [[1.0, None]],
        "nested": [{"a": ["x"], "b": None}],
    }
    found = rows(parquet(tmp_path / "x.parquet", columns))
    unread = {"when": {"not read": "timestamp[us]"}, "raw": {"not read": "binary"}}
    assert found == [{"prompt": "Why?", "scores": [1.0, None], "nested": {"a": ["x"], "b": None}} | unread]


def test_of_a_record_in_parquet_the_texts_are_read(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Why?", "image": b"x"}]
    found = rows(parquet(tmp_path / "x.parquet", {"chosen": [talk], "map": [{"a": 1}]}))
    assert found == [{"chosen": [{"role": "user", "content": "Why?"}], "map": {"a": 1}}]


def test_a_file_over_which_the_library_breaks_down_is_one_error(tmp_path: Path) -> None:
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


def test_groups_of_rows_follow_each_other(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"n": list(range(5000))}, row_group_size=700)
    assert [row["n"] for row in rows(path)] == list(range(5000))


def test_small_batches_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "x.parquet", {"n": list(range(100)), "t": ["x" * n for n in range(100)]})
    monkeypatch.setattr(apo.datasets.parquet, "_AT_ONCE", 1)
    assert list(apo.datasets.parquet.rows_of(path)) == rows(path) != []


# What is no file -----------------------------------------------------------------------------------


def test_a_pipe_a_device_and_impossible_names_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jsonl")
    for path, found in [
        (tmp_path / "x.jsonl", "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
        (tmp_path, "a folder"),
        (tmp_path / "a\0b.jsonl", "no such file"),
        (tmp_path / ("a" * 5000), "no such file"),
        (tmp_path / "\udcff\ud800.jsonl", "no such file"),
    ]:
        with pytest.raises(UserError, match=f"found {found}"):
            rows(path)


def test_a_line_that_can_not_be_read_is_given_as_an_error(tmp_path: Path) -> None:
    found = rows(written(tmp_path / "x.jsonl", LINE + b'{"a": "\xff"}\n{\n[1]\n' + LINE))
    assert [one.code if isinstance(one, RowError) else one for one in found] == [
        ROW,
        "not_utf8",
        "not_json",
        "not_json",
        ROW,
    ]


def test_the_bound_of_a_row_is_exact(tmp_path: Path) -> None:
    short = b'{"a": "' + b"x" * (MAX_ROW_BYTES - 10) + b'"}\n'
    assert len(short) == MAX_ROW_BYTES
    assert len(rows(written(tmp_path / "x.jsonl", short))) == 1
    with pytest.raises(UserError, match=f"a row of more than {MAX_ROW_BYTES} bytes"):
        rows(written(tmp_path / "x.jsonl", short.replace(b"x", b"xx", 1)))
