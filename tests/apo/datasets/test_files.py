"""apo/datasets/files.py: a file of which nothing is left is an error that says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.data_issues import DataIssues
from apo.core.errors import UserError
from apo.datasets.files import read_files
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.settings import Files
from tests.helpers.reading import ACTIONS, PAIR, WHY, ordered

GOOD = {"prompt": "Why?", **PAIR}


def load(folder: Path, files: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The records of files, one of each kind, by kind."""
    for kind, rows in files.items():
        (folder / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = Files.of({kind: [f"{kind}.jsonl"] for kind in files}, {}, {})
    loaded: dict[str, list[dict[str, Any]]] = {}
    for kind, row in read_files(named, folder, DataIssues(ROW_ISSUES, ACTIONS)).rows:
        loaded.setdefault(kind, []).append(row)
    return loaded


SIDES = {"prompt": "Why?", "response_a": "a", "response_b": "b"}
EMPTY, EQUAL = GOOD | {"rejected": ""}, GOOD | {"rejected": "good"}
NOTHING: list[tuple[str, list[dict[str, Any]], str]] = [
    ("comparisons", [EQUAL] * 3, "among 3 .left out: identical_responses 3"),
    (
        "comparisons",
        [GOOD | {"rejected": ""}, GOOD | {"rejected": "good"}],
        "empty_response 1, identical_resp",
    ),
    (
        "test",
        [SIDES | {"winner": "tie"}] * 2,
        "no_preference 2",
    ),
    ("golden", [{"query": WHY, "golden": ""}], "empty_response 1"),
    ("demonstrations", [{"prompt": "Why?", "completion": " "}], "empty_response 1"),
]


@pytest.mark.parametrize(("kind", "rows", "message"), NOTHING)
def test_read_files_says_why_no_row_of_a_file_is_kept(
    tmp_path: Path, kind: str, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=rf"{kind}\.jsonl: found no usable row .*{message}"):
        load(tmp_path, {"comparisons": [GOOD], kind: rows})
    assert len(load(tmp_path, {"comparisons": [GOOD]})["comparisons"]) == 1


def test_read_files_keeps_the_scores_of_samples(tmp_path: Path) -> None:
    scored = [
        {"query": WHY, "samples": ["a", "b"], "rewards": [0.5, -1]},
        {"query": "How?", "sample_0": "a", "sample_1": "b", "scores": {"sample_0": 3, "sample_1": 4.5}},
        {"prompt": "Who?", "answers": [{"text": f"answer {n}", "score": n / 4} for n in range(17)]},
        {"query": "When?", "responses": ["a", "b", "c"], "scores": [1, 1, 2]},
    ]
    for row in scored:
        samples = load(tmp_path, {"comparisons": [GOOD], "samples": [row]})["samples"]
        rewards = samples[0]["source_rewards"]
        assert len(rewards) == len(samples[0]["samples"]) and all(isinstance(one, float) for one in rewards)
    assert rewards == [1.0, 1.0, 2.0]


VOTES = [SIDES | {"winner": 1}, SIDES | {"winner": 0}]


def load_comparisons(folder: Path, **options: Any) -> list[dict[str, Any]]:
    """The comparisons of votes.jsonl and pairs.jsonl, with columns or labels."""
    (folder / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in VOTES))
    (folder / "pairs.jsonl").write_text(json.dumps({"ask": "Why?", **PAIR}) + "\n")
    kinds = ("rm", "llm", "test", "golden", "samples", "demonstrations")
    columns = options.get("columns", {"comparisons": {"pairs.jsonl": {"prompt": "ask"}}})
    values = {kind: [] for kind in kinds} | {"columns": columns, "labels": options["labels"]}
    files = Files.model_validate({"comparisons": ["votes.jsonl", "pairs.jsonl"], **values})
    rows = read_files(files, folder, DataIssues(ROW_ISSUES, ACTIONS)).rows
    return [row for kind, row in rows if kind == "comparisons"]


def test_read_files_takes_columns_and_labels_for_each_file_by_its_name(tmp_path: Path) -> None:
    rows = load_comparisons(tmp_path, labels={"votes.jsonl": {0: "a", 1: "b"}})
    assert [ordered(row) for row in rows] == ["b > a", "a > b", "good > bad"]
    assert [row["query"] for row in rows] == [WHY] * 3


def test_read_files_says_how_to_name_the_options_of_one_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels for a file of the format pairs.*\{FILE: \{1: a, 2: b\}\}"):
        load_comparisons(tmp_path, labels={0: "a", 1: "b"})
    with pytest.raises(UserError, match=r"expected a column 'ask'.*\{FILE: \{\.\.\.\}\} if files differ"):
        load_comparisons(tmp_path, columns={"comparisons": {"prompt": "ask"}}, labels={})
    with pytest.raises(
        UserError, match=r"data\.files\.labels: found 'vote\.jsonl'; expected the name of a file"
    ):
        load_comparisons(tmp_path, labels={"vote.jsonl": {0: "a"}})
    columns = {"golden": {"x.jsonl": {"query": "q"}}}
    with pytest.raises(UserError, match=r"data\.files\.columns\.golden: found 'x\.jsonl'"):
        load_comparisons(tmp_path, columns=columns, labels={})
