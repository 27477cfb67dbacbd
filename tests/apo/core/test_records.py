"""Records on disk: streams of JSON Lines, whole or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import read_numbered_rows, read_rows, write_json, write_parts, write_rows

ROWS = [{"b": "ß\u2028\r\n", "a": 0.1}, {"b": "", "a": None}]


def test_read_rows_returns_what_write_rows_wrote(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert write_rows(path, ROWS) == 2
    assert [list(row.items()) for row in read_rows(path)] == [list(row.items()) for row in ROWS]
    assert [number for number, _ in read_numbered_rows(path)] == [1, 2]
    assert path.read_bytes().count(b"\n") == 2
    assert "ß" in path.read_text(encoding="utf-8")


def test_read_rows_is_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\nbroken\n')
    rows = read_rows(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(UserError, match=r"rows\.jsonl:2: found a line that is not JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "JSON of type list"),
        ("3", "JSON of type int"),
        ('{"a": ', "a line that is not JSON"),
        ("[" * 100_000, "a line that is not JSON"),
    ],
)
def test_read_rows_refuses_a_line_that_is_no_object(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=rf"rows\.jsonl:1: found {message}"):
        list(read_rows(path))


def test_read_rows_says_how_to_make_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl: found no such file.*dvc repro"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_write_rows_of_no_rows_is_one_empty_line(tmp_path: Path) -> None:
    """DVC warns about an empty file. Elsewhere a blank line is a mistake, and read as one."""
    path = tmp_path / "rows.jsonl"
    assert write_rows(path, []) == 0
    assert path.read_bytes() == b"\n"
    assert list(read_rows(path, "a")) == list(read_numbered_rows(path)) == []
    path.write_bytes(b"")
    assert list(read_rows(path)) == []
    for content, number in ((b'{"a": 1}\n\n', 2), (b'\n{"a": 1}\n', 1), (b"\n\n", 1)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"rows\.jsonl:{number}: found a line that is not JSON"):
            list(read_rows(path))


def _breaking_off() -> Iterator[dict]:
    yield {"a": 1}
    raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, "old\n"])
def test_write_rows_that_breaks_off_leaves_the_old_file(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "rows.jsonl"
    if before is not None:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt):
        write_rows(path, _breaking_off())
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["rows.jsonl"])
    assert before is None or path.read_text() == before


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_write_rows_refuses_nan_and_infinity(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_rows(tmp_path / "rows.jsonl", [{"a": number}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"a": number})
    assert list(tmp_path.iterdir()) == []


def test_write_json_keeps_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "metrics.json", {"b": 1, "a": "ß"})
    text = (tmp_path / "deep" / "metrics.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": 1,\n  "a": "ß"\n}\n'
    assert list(json.loads(text)) == ["b", "a"]


def test_write_parts_sends_each_row_into_its_file(tmp_path: Path) -> None:
    paths = {part: tmp_path / "new" / f"{part}.jsonl" for part in ("a", "b", "none")}
    rows = [("b", {"n": 0}), ("a", {"n": 1}), ("b", {"n": 2})]
    assert write_parts(paths, iter(rows)) == {"a": 1, "b": 2, "none": 0}
    assert list(read_rows(paths["a"])) == [{"n": 1}]
    assert list(read_rows(paths["b"])) == [{"n": 0}, {"n": 2}]
    assert list(read_rows(paths["none"])) == []
    assert len(list((tmp_path / "new").iterdir())) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("x", found="", expected="", do="")])
def test_write_parts_that_breaks_off_leaves_the_old_files(tmp_path: Path, error: BaseException) -> None:
    def rows() -> Iterator[tuple[str, dict]]:
        yield "a", {"n": 1}
        yield "b", {"n": 2}
        raise error

    (tmp_path / "a").write_text("old\n")
    with pytest.raises(BaseException) as raised:
        write_parts({"a": tmp_path / "a", "b": tmp_path / "b"}, rows())
    assert raised.type in (KeyboardInterrupt, UserError)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old\n"


def test_write_parts_writes_no_file_if_one_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        write_parts({"b": tmp_path / "b", "a": tmp_path / "a"}, [("a", {"n": 1}), ("b", {"n": 2})])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a file of Linux")
@pytest.mark.parametrize("full", ["a", "b"])
def test_write_parts_writes_no_file_if_the_disk_is_full_at_the_end(tmp_path: Path, full: str) -> None:
    (tmp_path / f"{full}.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        write_parts({name: tmp_path / name for name in ("a", "b")}, [("a", {"n": 1}), ("b", {"n": 2})])
    assert list(tmp_path.iterdir()) == []


def test_write_parts_asserts_a_known_part(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_parts({"a": tmp_path / "a"}, [("b", {})])
    assert list(tmp_path.iterdir()) == []


def test_read_rows_checks_required_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x", "b": 1}\n{"a": 5}\n')
    rows = read_rows(path, "a")
    assert next(rows) == {"a": "x", "b": 1}
    with pytest.raises(UserError, match=r"rows\.jsonl:2: found 5 under 'a'; expected a text"):
        next(rows)
    with pytest.raises(UserError, match=r"rows\.jsonl:1: found no key 'c'"):
        list(read_rows(path, "a", "c"))
    assert len(list(read_rows(path))) == 2


def test_read_rows_names_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: found bytes that are not UTF-8 .* at byte 8"):
        list(read_rows(path))
    with pytest.raises(UserError, match="found a folder"):
        list(read_rows(tmp_path))


def test_write_rows_refuses_a_lone_surrogate(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    with pytest.raises(UserError, match=r"bad\.jsonl: found half of a surrogate pair"):
        write_parts({"bad": bad, "good": good}, [("good", {"a": ""}), ("bad", {"a": "x\ud800"})])
    with pytest.raises(UserError, match=r"bad\.jsonl: found half of a surrogate pair"):
        write_json(bad, ["\udfff"])
    assert list(tmp_path.iterdir()) == []


def test_write_rows_names_a_path_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"found (File exists|Not a directory); .*write rows\.jsonl"):
        write_rows(tmp_path / "file" / "rows.jsonl", ROWS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder.*: found Is a directory"):
        write_rows(tmp_path / "folder", ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
