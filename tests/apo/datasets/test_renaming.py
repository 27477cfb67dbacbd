"""apo/datasets/renaming.py: one naming of columns for `make inspect` and for stage `data`."""

import json
from pathlib import Path

import pytest

from tests.helpers.inspected import report_of
from tests.helpers.reading import WHY, read, write

PAIRS_OF_NAMES = [
    ("win", "lose"),
    ("good", "bad"),
    ("preferred", "dispreferred"),
    ("pos_resp", "neg_resp"),
    ("preferred_output", "non_preferred_output"),
]


@pytest.mark.parametrize(("better", "worse"), PAIRS_OF_NAMES)
def test_inspect_names_the_sides_as_the_stage_does(tmp_path: Path, better: str, worse: str) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "Why?", worse: "bad", better: "good"}] * 2)
    report = report_of(path)
    assert (report.kind, report.kept, report.usable) == ("comparison", 2, True)
    assert report.records[0]["answers"] == [["best (1)", "good"], ["worst (0)", "bad"]]
    assert read(path).ranked == [(WHY, "good > bad")] * 2


def test_sides_by_other_names_are_looked_through_for_json(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "win": json.dumps("good"), "lose": json.dumps("bad")}] * 2
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")] * 2
    plain = {"prompt": "Why?", "win": "yes", "lose": "no"}
    assert read(tmp_path, [*rows, plain]).ranked == [(WHY, '"good" > "bad"')] * 2 + [(WHY, "yes > no")]
