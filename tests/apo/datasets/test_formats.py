"""apo/datasets/formats.py: one comparison says the same in every format of rows and every type of file."""

import json
from pathlib import Path

import pytest

from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_samples
from tests.helpers.reading import FORMATS, WHY, read, read_by, write

WANTED = {
    "query_id": query_id_of(WHY),
    "query": WHY,
    "responses": ["good", "bad"],
    "scores": [1.0, 0.0],
    "type": "",
}

FILE_NAMES = ["x.jsonl", "x.json", "x.jsonl.gz", "x.json.gz", "x.jsonl.xz", "x.json.xz", "x.parquet"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_formats_of_a_comparison_give_the_same_record(tmp_path: Path, name: str, format: str) -> None:
    rows, counts, issues = read_by(read_comparisons, write(tmp_path / name, [FORMATS[format]] * 3))
    assert rows == [WANTED] * 3
    assert [list(row) for row in rows] == [list(WANTED)] * 3
    assert (counts["rows"], counts["kept"], issues) == (3, 3, [])


@pytest.mark.parametrize("name", FILE_NAMES)
def test_file_types_give_the_same_records(tmp_path: Path, name: str) -> None:
    rows, _, _ = read_by(read_comparisons, write(tmp_path / name, [FORMATS["joined"]] * 2000))
    assert rows == [WANTED] * 2000


def test_json_lines_under_the_name_json_with_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(FORMATS["own"]).encode() + b"\r\n\r\n")
    assert read_by(read_comparisons, path)[0] == [WANTED]


def test_own_comparison_keeps_scores_ids_and_types(tmp_path: Path) -> None:
    row = {
        "query_id": 7,
        "query": WHY,
        "responses": ["a", "b", "c"],
        "scores": [-1, 5e-7, 1e6],
        "type": "harmless",
    }
    rows, _, _ = read_by(read_comparisons, write(tmp_path / "x.jsonl", [row]))
    assert rows == [{**row, "query_id": "7", "scores": [-1.0, 5e-7, 1e6]}]


def test_wrapped_and_stripped_texts_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl", [FORMATS["plain prompt"], FORMATS["prompt and space"], FORMATS["prompt"]]
    )
    _, counts, _ = read_by(read_comparisons, path)
    assert counts == {
        "rows": 3,
        "kept": 3,
        "wrapped_queries": 1,
        "trimmed_queries": 1,
        "stripped_responses": 2,
    }


def test_joined_texts_wrap_a_plain_query_once_per_comparison(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"text": ["Why?<sep>good", "Why?<sep>bad"], "scores": [1, 0]}])
    rows, counts, _ = read_by(read_comparisons, path)
    assert rows == [WANTED]
    assert counts["wrapped_queries"] == 1


def test_samples_may_be_records_with_a_text_and_a_grade(tmp_path: Path) -> None:
    graded = [{"text": "a", "score": 1}, {"text": "b", "score": "2.5"}]
    ranked = [{"answer": "a", "rank": 2}, {"answer": "b", "rank": 1}]
    rows = [{"query_id": "7", "query": "Why?", "samples": entries} for entries in (graded, ranked)]
    first, second = read(tmp_path, rows, read_samples).records
    assert (first["query_id"], first["samples"], first["source_rewards"]) == ("7", ["a", "b"], [1.0, 2.5])
    assert (second["samples"], second["source_rewards"]) == (["a", "b"], [-2.0, -1.0])
    for entries in ([{"text": "a"}], ["a", {"text": "b", "score": 1}], [{"body": "a", "score": 1}]):
        with pytest.raises(UserError, match=r"an entry with .* in 'samples'"):
            read(tmp_path, [{"query": "Why?", "samples": entries}], read_samples)
