"""Export: what goes out in another tool's shape comes back the same."""

import json
from collections import Counter
from pathlib import Path

import pytest

from apo.errors import UserError
from apo.export import comparison_to_pairs, export, golden_to_authors, main, samples_to_authors, to_authors
from apo.records import read_rows, write_rows
from apo.sources import read_comparisons, read_golden, read_samples

Q = "\n\nHuman: Why?\n\nAssistant:"
OTHER = "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: “ß”\n\nAssistant:"
COMPARISONS = [
    {
        "query_id": "a",
        "query": Q,
        "responses": ["x", "y", "z"],
        "scores": [0.5, -2.0, 1e-7],
        "type": "helpful",
    },
    {"query_id": "b", "query": OTHER, "responses": ["x\n\ny", "y"], "scores": [0.0, 1.0], "type": ""},
]
GOLDEN = [
    {"query_id": "a", "query": Q, "golden": "g", "type": "helpful"},
    {"query_id": "b", "query": OTHER, "golden": "h", "type": ""},
]
SAMPLES = [
    {"query_id": "a", "query": Q, "samples": [f"s{n}" for n in range(12)], "extra": {}},
    {"query_id": "b", "query": OTHER, "samples": ["s", ""], "extra": {"hh_best": "h", "gpt4_ans": "g"}},
]
APO = {"query_id": "a", "query": Q, "responses": ["g", "x", "y"], "scores": [1.0, 0.0, 0.0], "type": "apo"}


@pytest.mark.parametrize(
    ("reader", "rows"), [(read_comparisons, COMPARISONS), (read_golden, GOLDEN), (read_samples, SAMPLES)]
)
def test_the_authors_shape_comes_back_the_same(tmp_path: Path, reader, rows: list[dict]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / "out.json"
    write_rows(source, rows)
    assert main(["--to", "authors", str(source), str(target)]) == 0
    back = list(reader(target, Counter()))
    assert back == rows
    assert [list(row) for row in back] == [list(row) for row in rows]
    assert isinstance(json.loads(target.read_text(encoding="utf-8")), list)


def test_the_authors_shapes_to_the_letter() -> None:
    assert list(to_authors(COMPARISONS[0], where="x:1")) == [
        {
            "text": [f"{Q}<sep>x", f"{Q}<sep>y", f"{Q}<sep>z"],
            "scores": [0.5, -2.0, 1e-7],
            "query_id": "a",
            "type": "helpful",
        }
    ]
    assert golden_to_authors({"query_id": "a", "query": Q, "golden": "g", "more": 1}) == {
        "query_id": "a",
        "query": Q,
        "golden": "g",
    }
    assert samples_to_authors(SAMPLES[1]) == {
        "query_id": "b",
        "query": OTHER,
        "sample_0": "s",
        "sample_1": "",
        "hh_best": "h",
        "gpt4_ans": "g",
    }


def test_an_apo_item_becomes_one_pair_a_sample() -> None:
    assert list(to_authors(APO, where="x:1")) == [
        {"text": [f"{Q}<sep>g", f"{Q}<sep>{sample}"], "scores": [1.0, 0.0], "type": "apo"} for sample in "xy"
    ]


def test_scores_become_one_entry_an_answer() -> None:
    row = {"query_id": "a", "scores": [0.25, -1.0], "extra": {"hh_best": 2.0}}
    assert list(to_authors(row, where="x:1")) == [
        {"a:sample_0": 0.25},
        {"a:sample_1": -1.0},
        {"a:hh_best": 2.0},
    ]


def test_pairs_are_those_of_the_ranking_loss() -> None:
    pairs = [(pair["chosen"], pair["rejected"]) for pair in comparison_to_pairs(COMPARISONS[0])]
    assert pairs == [("x", "y"), ("x", "z"), ("z", "y")]
    assert list(comparison_to_pairs(APO)) == [{"prompt": Q, "chosen": "g", "rejected": s} for s in "xy"]


def test_pairs_come_back_as_comparisons(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, COMPARISONS)
    assert export(source, target, to="pairs") == 4
    assert list(read_rows(target))[-1] == {"prompt": OTHER, "chosen": "y", "rejected": "x\n\ny"}
    assert all(row["scores"] == [1.0, 0.0] for row in read_comparisons(target, Counter()))


@pytest.mark.parametrize(
    "row",
    [
        {**COMPARISONS[0], "responses": ["x", "y<sep>", "z"]},
        {**COMPARISONS[0], "query": "\n\nHuman: <sep>?\n\nAssistant:"},
        {**APO, "responses": ["g", "x<sep>y", "z"]},
        {"query_id": "a:b", "scores": [1.0]},
        {"target": "x"},
    ],
)
def test_what_the_shape_cannot_hold_is_refused_and_nothing_written(tmp_path: Path, row: dict, capsys) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    write_rows(source, [COMPARISONS[1], row])
    with pytest.raises(UserError):
        export(source, target, to="authors")
    assert main(["--to", "authors", str(source), str(target)]) == 1
    assert "expected" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_only_comparisons_have_pairs(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", GOLDEN)
    with pytest.raises(UserError, match=r"in\.jsonl:1: found keys \['golden'"):
        export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="pairs")


def test_no_rows_are_an_empty_list(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [])
    assert export(tmp_path / "in.jsonl", tmp_path / "out.json", to="authors") == 0
    assert json.loads((tmp_path / "out.json").read_text()) == []
