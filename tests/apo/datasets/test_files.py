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
from tests.helpers.reading import ACTIONS, PAIR, WHY

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
