"""apo/datasets/json_list.py: a list is read as a stream, and gives what the json module gives."""

import json
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.file_rows import rows, written

LISTS = [
    [{}],
    [{"a": 1}, {"a": [1, 2, {"b": None}]}, {"é": "ü\ud83d\ude00", "]": "[", "\\": '"'}],
    [{"text": "x" * n} for n in (0, 1, 7, 3_000_000, 2**20, 2**20 - 20)],
    [{"n": n} for n in range(50_000)],
]


@pytest.mark.parametrize("values", LISTS, ids=range(4))
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_list_gives_what_the_json_module_gives(
    tmp_path: Path, values: list, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if not ascii_only:
        text = json.dumps(values, indent=indent, ensure_ascii=False).replace("\ud83d\ude00", "😀").encode()
    assert rows(written(tmp_path / "x.json", b"\xef\xbb\xbf \n" + text + b"\n ")) == json.loads(text)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 1000])
def test_json_list_gives_the_same_rows_for_any_chunk_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    values = [{"a": "é😀\\u"}, {}, {"b": [[1.5e-3, True], None]}]
    path = written(tmp_path / "x.json", json.dumps(values, ensure_ascii=False).encode())
    monkeypatch.setattr("apo.datasets.compressed.CHUNK", size)
    assert rows(path) == values


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_json_list_keeps_a_number_over_chunks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("apo.datasets.compressed.CHUNK", size)
    elements = rows(written(tmp_path / "x.json", b'[12345, "abc", {"a": 1}, null]'))
    assert [one if isinstance(one, dict) else one.found for one in elements] == [
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
def test_json_list_refuses_what_is_no_list(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UserError, match=r"x\.json: found no JSON"):
        rows(written(tmp_path / "x.json", text))
