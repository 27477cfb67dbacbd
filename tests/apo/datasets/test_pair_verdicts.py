"""apo/datasets/pair_verdicts.py: ties, verdicts and grades beside a chosen and a rejected answer."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import ORCA, PAIR, TALK, asked, read

Row = dict[str, Any]
TIES: list[Row] = [
    ORCA | {"status": "tie", "rating": [9.0, 9.0]},
    {side: asked(text) for side, text in PAIR.items()} | {"tie": True, "winner": None},
    {"prompt": "Why?", **PAIR, "isTie": 1},
    {"prompt": "Why?", **PAIR, "verdict": "both_bad"},
    {"prompt": "Why?", "chosen": ["good", "fair"], "rejected": ["bad"], "preference": "no preference"},
    {"chosen": f"{TALK} good", "rejected": f"{TALK} bad", "winner": "both"},
    {"messages": asked("good"), "rejected_response": "bad", "tied": "true"},
    {"query": "Why?", "response": "good", "rejected": "bad", "label": "tie"},
]
NO_TIES: list[Row] = [
    ORCA | {"status": "swapped"},
    {"prompt": "Why?", **PAIR, "tie": 1, "win": 3},
    {"prompt": "Why?", **PAIR, "label": "none", "status": "n/a", "winner": None, "choice": float("nan")},
    {"prompt": "Why?", **PAIR, "tie": False, "is_tie": 0, "winner": "chosen"},
    {"prompt": "Why?", **PAIR, "winner": "m", "chosen_model": "m", "rejected_model": "n"},
]


@pytest.mark.parametrize("row", TIES)
def test_with_judgements_learns_no_order_from_a_tie(tmp_path: Path, row: Row) -> None:
    result = read(tmp_path, [row])
    assert (result.records, result.issues) == ([], {"no_preference": 1})


@pytest.mark.parametrize("row", NO_TIES)
def test_with_judgements_takes_no_count_and_no_other_status_for_a_tie(tmp_path: Path, row: Row) -> None:
    result = read(tmp_path, [row])
    assert ([ranked for _, ranked in result.ranked], result.issues) == (["good > bad"], {})


def test_with_judgements_reads_ties_beside_mapped_columns(tmp_path: Path) -> None:
    row = {"q": "Why?", "up": "good", "down": "bad"}
    columns = {"prompt": "q", "chosen": "up", "rejected": "down"}
    for tie in ({"tie": True}, {"status": "tie"}):
        assert read(tmp_path, [row | tie], columns=columns).issues == {"no_preference": 1}


CONTRARY: list[Row] = [
    {"prompt": "Why?", **PAIR, "winner": "rejected"},
    {"prompt": "Why?", **PAIR, "better_response": "bad"},
    {"prompt": "Why?", **PAIR, "preferred": "N", "chosen_model": "m", "rejected_model": "n"},
    {"messages": asked("good"), "rejected_response": "bad", "choice": "rejected_response"},
]


@pytest.mark.parametrize("row", CONTRARY)
def test_with_judgements_refuses_a_verdict_for_the_rejected_answer(tmp_path: Path, row: Row) -> None:
    with pytest.raises(UserError, match=r", the rejected answer, in '.*data\.on_issue\.bad_score to drop"):
        read(tmp_path, [row])
    columns = {key: key for key in row if key not in ("winner", "better_response", "preferred", "choice")}
    if "prompt" in row:
        assert [ranked for _, ranked in read(tmp_path, [row], columns=columns).ranked] == ["good > bad"]


def test_roles_beside_calls_one_grade_alone_not_read(tmp_path: Path) -> None:
    columns = read(tmp_path, [ORCA]).columns
    assert (columns["chosen_score"], columns["status"]) == ("not read", "verdict, compared with the order")


def test_with_judgements_compares_grades(tmp_path: Path) -> None:
    grades = [{"score_chosen": 1, "score_rejected": other} for other in (0, 1, 2)]
    dialogues = {side: f"{TALK} {text}" for side, text in PAIR.items()}
    for row in ({"prompt": "Why?", **PAIR}, dialogues):
        counts = read(tmp_path, [row | pair for pair in grades]).counts
        assert (counts["pairs_graded_alike"], counts["pairs_graded_the_other_way"]) == (1, 1)
        assert counts["kept"] == 3
