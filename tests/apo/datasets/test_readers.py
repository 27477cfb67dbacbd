"""apo/datasets/readers.py: the rules for comparisons, golden answers and samples, and what is counted."""

import subprocess
import sys
from pathlib import Path

import pytest

from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_golden, read_samples
from tests.helpers.reading import FORMATS, HOW, WHY, answer, read_by, user, write

WANTED = {
    "query_id": query_id_of(WHY),
    "query": WHY,
    "responses": ["good", "bad"],
    "scores": [1.0, 0.0],
    "type": "",
}

# Rules ---------------------------------------------------------------------------------------------
RULES: dict[str, dict] = {
    "dropped_empty_response": {"query": WHY, "responses": ["a", " \n", "c"], "scores": [1, 0, 2]},
    "dropped_identical_responses": {"query": WHY, "responses": ["a", " a"], "scores": [1, 0]},
    "dropped_no_preference": {"query": WHY, "responses": ["a", "b", "c"], "scores": [0.5, 0.5, 0.5]},
    "dropped_single_response": {"query": WHY, "responses": ["a"], "scores": [1.0]},
}


@pytest.mark.parametrize("rule", RULES)
def test_read_comparisons_counts_and_lists_a_dropped_row(tmp_path: Path, rule: str) -> None:
    path = write(tmp_path / "x.jsonl", [FORMATS["own"], RULES[rule], FORMATS["own"]])
    rows, counts, issues = read_by(read_comparisons, path)
    assert rows == [WANTED] * 2
    assert (counts["rows"], counts["kept"], counts[rule]) == (3, 2, 1)
    assert [(one["code"], one["action"], one["where"]) for one in issues] == [
        (rule.removeprefix("dropped_"), "drop", f"{path}:2")
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"text": [f"{WHY}<sep>a", f"{HOW}<sep>b"], "scores": [1, 0]},
        {"text": [f"{WHY} a", f"{HOW} b"], "score": [1, 0]},
        {"chosen": f"{WHY} a", "rejected": f"{HOW} b"},
        {"chosen": [user("Why?"), answer("a")], "rejected": [user("How?"), answer("b")]},
    ],
)
def test_read_comparisons_drops_a_comparison_of_two_queries(tmp_path: Path, row: dict) -> None:
    rows, counts, issues = read_by(read_comparisons, write(tmp_path / "x.json", [row]))
    assert rows == []
    assert counts["dropped_two_queries"] == 1
    assert issues[0]["where"].endswith("x.json: row 1")


def test_read_comparisons_keeps_some_equal_responses(tmp_path: Path) -> None:
    row = {"query": WHY, "responses": ["a", "a", "b"], "scores": [1, 0.5, 0]}
    rows, counts, _ = read_by(read_comparisons, write(tmp_path / "x.jsonl", [row]))
    assert rows[0]["responses"] == ["a", "a", "b"]
    assert counts == {"rows": 1, "kept": 1, "kept_duplicate_responses": 1}


def test_read_comparisons_cuts_no_response(tmp_path: Path) -> None:
    row = {"query": WHY, "responses": ["a\n\nHuman: b", "c"], "scores": [1, 0]}
    rows, counts, _ = read_by(read_comparisons, write(tmp_path / "x.jsonl", [row]))
    assert rows[0]["responses"] == ["a\n\nHuman: b", "c"]
    assert "cut_runaway" not in counts


RUNAWAYS = [
    {"prompt": "Why?", "chosen": "a\n\nHuman: b", "rejected": "c"},
    {"chosen": f"{WHY} a\n\nHuman:", "rejected": f"{WHY} c"},
    {"text": [f"{WHY}<sep>a\nHuman", f"{WHY}<sep>c"], "scores": [1, 0]},
    {"query": WHY, "responses": ["a\n\nHuman: b\n\nAssistant: d", "c"], "scores": [1, 0]},
]


@pytest.mark.parametrize("row", RUNAWAYS)
def test_read_comparisons_applies_the_action_to_a_runaway_response(tmp_path: Path, row: dict) -> None:
    path = write(tmp_path / "x.jsonl", [row])
    rows, counts, issues = read_by(read_comparisons, path)
    assert "Human" in rows[0]["responses"][0] and counts["kept_runaway_response"] == 1
    assert [one["code"] for one in issues] == ["runaway_response"]
    rows, counts, _ = read_by(read_comparisons, path, runaway_response="cut")
    assert (rows[0]["responses"], counts["cut_runaway"]) == (["a", "c"], 1)
    assert read_by(read_comparisons, path, runaway_response="drop")[0] == []
    with pytest.raises(UserError, match=r"runaway_response to drop or keep or cut"):
        read_by(read_comparisons, path, runaway_response="error")


def test_read_comparisons_drops_responses_that_are_equal_once_cut(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "c\n\nHuman: b", "rejected": "c"}
    _, counts, _ = read_by(read_comparisons, write(tmp_path / "x.jsonl", [row]), runaway_response="cut")
    assert counts["dropped_identical_responses"] == 1


# Other kinds ---------------------------------------------------------------------------------------


def test_read_golden_by_hand(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.json",
        [{"query_id": 1, "query": "Why?", "golden": " so ", "type": "t"}, {"query": WHY, "golden": ""}],
    )
    rows, counts, issues = read_by(read_golden, path)
    assert rows == [{"query_id": "1", "query": WHY, "golden": "so", "type": "t"}]
    assert counts["dropped_empty_response"] == 1
    assert [(one["code"], one["where"]) for one in issues] == [("empty_response", f"{path}: row 2")]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_read_samples_orders_samples_by_their_numbers(tmp_path: Path, name: str) -> None:
    many = {"query_id": "a", "query": WHY, **{f"sample_{n}": f"s{n}" for n in (10, *range(10))}}
    few = {"query_id": "b", "query": HOW, "sample_0": "t0\n\nHuman: more", "sample_1": " "}
    rows, counts, _ = read_by(read_samples, write(tmp_path / name, [few, many, few]))
    wanted = {"query_id": "b", "query": HOW, "samples": ["t0", ""], "extra": {}}
    assert rows == [
        wanted,
        {"query_id": "a", "query": WHY, "samples": [f"s{n}" for n in range(11)], "extra": {}},
        wanted,
    ]
    assert counts == {
        "rows": 3,
        "kept": 3,
        "cut_runaway": 2,
        "stripped_responses": 2,
        "blank_samples": 2,
        "kept_sample_count": 1,
    }


def test_read_samples_keeps_other_answers_by_name(tmp_path: Path) -> None:
    others = {"hh_best": "h", "gpt4_answer": "g", "ans_3": "a\n\nHuman: x"}
    path = write(tmp_path / "x.jsonl", [{"query": WHY, "sample_0": "s", "score": 3, **others}])
    rows, counts, _ = read_by(read_samples, path)
    assert rows[0]["samples"] == ["s"]
    assert rows[0]["extra"] == others  # not cut: others than the LLM wrote them
    assert "cut_runaway" not in counts
    again = write(tmp_path / "y.jsonl", rows)
    assert read_by(read_samples, again)[0] == rows


def test_read_samples_counts_a_gap_in_the_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"query": WHY, "sample_1": "a", "sample_3": "b"}])
    rows, counts, _ = read_by(read_samples, path)
    assert rows[0]["samples"] == ["a", "b"]
    assert counts["rows_with_renumbered_samples"] == 1


def test_read_samples_applies_the_action_to_another_sample_count(tmp_path: Path) -> None:
    rows = [{"query": WHY, "samples": ["a", "b"]}, {"query": HOW, "samples": ["a"]}]
    path = write(tmp_path / "x.jsonl", rows)
    assert read_by(read_samples, path)[1]["kept_sample_count"] == 1
    assert len(read_by(read_samples, path, sample_count="drop")[0]) == 1
    with pytest.raises(
        UserError, match="found 1 samples, 2 in the first row; expected no row with sample_count"
    ):
        read_by(read_samples, path, sample_count="error")


def test_readers_import_neither_torch_nor_pyarrow() -> None:
    code = (
        "import sys, apo.datasets.readers, apo.splits.splitting, apo.export.write; "
        "print({'torch', 'pyarrow'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "set()\n"
