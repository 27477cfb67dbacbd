"""apo/datasets/file_reader.py: damaged files, damaged rows and suspicious texts, by the action set."""

import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from apo.datasets.file_reader import ReadOptions
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from tests.helpers.reading import (
    FORMATS,
    GOOD,
    JOINED,
    WHY,
    data_issues,
    read_by,
    user,
    write,
)

WANTED = {
    "query_id": query_id_of(WHY),
    "query": WHY,
    "responses": ["good", "bad"],
    "scores": [1.0, 0.0],
    "type": "",
}

Reader = Callable[..., Any]


def test_file_reader_reads_lines_as_a_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [FORMATS["own"]] * 2)
    path.write_text(path.read_text() + "broken\n")
    rows = read_comparisons(path, Counter(), data_issues(), ReadOptions())
    assert next(rows) == WANTED
    assert next(rows) == WANTED
    with pytest.raises(UserError, match=r"x\.jsonl:3"):
        next(rows)


LINE = json.dumps(GOOD).encode() + b"\n"

DAMAGED_FILES: list[tuple[str, bytes, str]] = [
    ("x.jsonl", b"", ": found no rows"),
    ("x.jsonl", b"\n\n", ": found no rows"),
    ("x.json", b"[]", ": found no rows"),
    ("x.json", b"", ": found no rows"),
    ("x.jsonl.gz", b"", ": found no rows"),
    ("x.jsonl.xz", b"", ": found data that breaks off"),
    ("x.jsonl", LINE + b'{"query": "caf\xe9"}\n', ":2: found bytes that are not UTF-8"),
    ("x.jsonl", "\ufeff{}".encode("utf-16"), ": found text in UTF-16"),
    ("x.json", b'[{"query": "caf\xe9"}]', ": found bytes that are not UTF-8"),
    ("x.jsonl", LINE + LINE[:-9], ":2: found a line that is not JSON"),
    ("x.jsonl", LINE + b'{"query": "a\0"}\n', ":2: found a line that is not JSON"),
    ("x.jsonl", LINE + b"3\n", ":2: found JSON of type int"),
    ("x.json", b"[" + LINE + b",", ": found no JSON"),
    ("x.json", b"[" + LINE + b", 3]", ": row 2: found JSON of type int"),
    ("x.json", b"[" * 100_000, ": found no JSON"),
    ("x.jsonl.gz", gzip.compress(LINE * 9, mtime=0)[:-9], ": found data that breaks off"),
    (
        "x.jsonl.gz",
        gzip.compress(LINE, mtime=0)[:10] + b"\x07" * 40,
        ": found data that breaks off or is damaged",
    ),
    ("x.jsonl.gz", LINE, ": found text in a file named"),
    ("x.jsonl.gz", gzip.compress(LINE, mtime=0)[:-8] + b"01234567", ": found data that breaks off"),
    ("x.jsonl.xz", lzma.compress(LINE * 9)[:-9], ": found data that breaks off"),
    ("x.json.xz", lzma.compress(b"[" + LINE + b"]")[:-9], ": found data that breaks off"),
    ("x.jsonl.xz", LINE, ": found text in a file named"),
    ("x.parquet", LINE, ": found text in a file named .parquet"),
    ("x.parquet", b"", ": found no readable parquet"),
    ("x.parquet.gz", LINE, ": found a file name that ends in '.gz'"),
    ("x.csv", b'prompt,chosen,rejected\n"Why?,a,b\n', ":2: found a line that is no row of a table"),
    ("x.xlsx", LINE, ": found a file name that ends in '.xlsx'"),
    ("x", LINE, ": found a file name that ends in ''"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED_FILES, ids=range(len(DAMAGED_FILES)))
def test_file_reader_refuses_a_damaged_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_by(read_comparisons, path)
    assert str(error.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("reader", [read_comparisons, read_golden, read_samples, read_demonstrations])
def test_file_reader_refuses_a_missing_file_and_a_folder(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(UserError, match="found a folder"):
        list(reader(tmp_path, Counter(), data_issues(), ReadOptions()))
    with pytest.raises(UserError, match="found no such file"):
        read_by(reader, tmp_path / "x.jsonl")


LEFT_OUT: list[tuple[str, Reader, dict, dict]] = [
    ("other_keys", read_comparisons, GOOD, {"query": WHY, "responses": ["a", "b"]}),
    ("not_text", read_comparisons, GOOD, {**GOOD, "query": None}),
    ("nul_character", read_comparisons, GOOD, {**GOOD, "responses": ["a", "b\0"]}),
    ("surrogate", read_comparisons, GOOD, {**GOOD, "responses": ["a", "\ud83d"]}),
    ("bad_score", read_comparisons, GOOD, {**GOOD, "scores": [1, "none"]}),
    ("score_count", read_comparisons, GOOD, {**GOOD, "scores": [1]}),
    ("bad_id", read_comparisons, GOOD, {**GOOD, "query_id": 1.5}),
    ("blank_query", read_comparisons, GOOD, {**GOOD, "query": " "}),
    ("query_form", read_comparisons, GOOD, {**GOOD, "query": WHY + " So"}),
    ("separator", read_comparisons, JOINED, {**JOINED, "text": ["a", "b"]}),
    ("no_dialogue", read_comparisons, FORMATS["dialogues"], {"chosen": "a", "rejected": "b"}),
    ("role_order", read_comparisons, FORMATS["messages"], {**FORMATS["messages"], "chosen": [user("a")]}),
    ("turn_mark", read_comparisons, FORMATS["messages"], {**FORMATS["messages"], "chosen": [user(WHY)]}),
    ("missing_golden", read_golden, {"query": WHY, "golden": "a"}, {"query": WHY, "golden": None}),
    ("missing_golden", read_golden, {"query": WHY, "golden": "a"}, {"query": WHY}),
]


@pytest.mark.parametrize(("code", "reader", "good", "bad"), LEFT_OUT)
def test_file_reader_refuses_or_drops_a_malformed_row(
    tmp_path: Path, code: str, reader: Reader, good: dict, bad: dict
) -> None:
    path = write(tmp_path / "x.jsonl", [good, bad, good])
    with pytest.raises(UserError, match=rf"x\.jsonl:2: .*, or set data\.on_issue\.{code} to drop in params"):
        read_by(reader, path)
    rows, counts, issues = read_by(reader, path, **{code: "drop"})
    assert len(rows) == 2
    assert (counts["rows"], counts["kept"], counts[f"dropped_{code}"]) == (3, 2, 1)
    assert [(one["code"], one["action"]) for one in issues] == [(code, "drop")]
    assert issues[0]["where"].startswith(f"{path}:2")


@pytest.mark.parametrize(("code", "line"), [("not_utf8", b'{"a": "\xff"}\n'), ("not_json", b'{"a\n')])
def test_file_reader_refuses_or_drops_an_unreadable_line(tmp_path: Path, code: str, line: bytes) -> None:
    path = tmp_path / "x.jsonl"
    for data in (line + LINE * 2, LINE + line + LINE):
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"data.on_issue.{code} to drop"):
            read_by(read_comparisons, path)
        rows, counts, _ = read_by(read_comparisons, path, **{code: "drop"})
        assert (len(rows), counts["rows"], counts[f"dropped_{code}"]) == (2, 3, 1)
    path.write_bytes(line)
    assert read_by(read_comparisons, path, **{code: "drop"})[0] == []
