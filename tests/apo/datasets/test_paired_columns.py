"""apo/datasets/paired_columns.py: two answers under paired names, and which of them is the better one."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, WHY, read

SIDES = {"prompt": "Why?", "response_a": "bad", "response_b": "good"}
NUMBERED = {"prompt": "Why?", "response_1": "bad", "response_2": "good"}
MODELS = {"model_a": "llama", "model_b": "gpt-4"}

CHOICES: list[dict[str, Any]] = [
    SIDES | {"chosen": "response_b", "rejected": "response_a"},
    SIDES | {"chosen": "b", "rejected": "a"},
    SIDES | {"chosen_response": "B", "rejected_response": "A"},
    SIDES | MODELS | {"chosen": "gpt-4", "rejected": "llama"},
    NUMBERED | {"chosen": "2", "rejected": "1"},
    {"prompt": "Why?", "回答A": "bad", "回答B": "good", "选择": "B", "拒绝": "A"},
]


@pytest.mark.parametrize("row", CHOICES)
def test_chosen_names_in_reads_names_under_chosen_and_rejected(tmp_path: Path, row: dict) -> None:
    assert read(tmp_path, [row]).ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("choice", [("a", "a"), ("1", "0"), ("0", "1")])
def test_scores_of_refuses_names_that_are_not_both_answers(tmp_path: Path, choice: tuple[str, str]) -> None:
    row = SIDES | dict(zip(("chosen", "rejected"), choice, strict=True))
    with pytest.raises(UserError, match=r"in 'chosen', and .* which do not name each answer.*a, b or tie"):
        read(tmp_path, [row], actions={"bad_score": "drop"})


@pytest.mark.parametrize("format", ["", "pairs"])
def test_names_are_no_answers_of_a_pair(tmp_path: Path, format: str) -> None:
    rows = [SIDES | PAIR, SIDES | {"chosen": "response_b", "rejected": "response_a"}]
    with pytest.raises(UserError, match=r":2: found 'response_b' and 'response_a', names of answers"):
        read(tmp_path, rows, format=format)


def test_short_answers_under_paired_names_stay_answers(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "response_a": "B", "response_b": "A", "chosen": "A", "rejected": "B"}
    assert read(tmp_path, [row]).ranked == [(WHY, "A > B")]


def test_scores_of_takes_marks_of_a_winner(tmp_path: Path) -> None:
    rows = [SIDES | {"winner_model_a": False, "winner_model_b": True}]
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")]
    path = tmp_path / "x.csv"
    path.write_text("prompt,response_a,response_b,winner_a,winner_b\nWhy?,bad,good,False,True\n")
    assert read(path).ranked == [(WHY, "good > bad")]


def numbered(start: int, grade: str) -> dict[str, Any]:
    """Four answers, the last of which is the best."""
    numbers = range(start, start + 4)
    grades = {f"{grade}_{n}": n for n in numbers} if grade != "preference" else {grade: 3}
    return {"prompt": "Why?", **{f"response_{n}": f"answer {n}" for n in numbers}, **grades}


MANY = [
    numbered(0, "score"),
    numbered(1, "rating"),
    numbered(1, "preference"),
    SIDES | {"response_c": "best", "winner": "a"},
    NUMBERED | {"response_3": "best", "preference_strength": -1},
]


@pytest.mark.parametrize("row", MANY)
def test_check_two_answers_refuses_a_third_one(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"a further answer in 'response_[c23]'.*with `scores`, or map"):
        read(tmp_path, [row])


def test_check_two_answers_takes_the_two_that_the_user_names(tmp_path: Path) -> None:
    columns = {"prompt": "prompt"}
    columns |= {f"{name}_{n}": f"{name}_{n + 2}" for name in ("response", "score") for n in range(2)}
    ranked = read(tmp_path, [numbered(0, "score")], columns=columns).ranked
    assert ranked == [(WHY, "answer 3 > answer 2")]
    assert read(tmp_path, [SIDES | {"winner": "b", "response_c": " "}]).ranked == [(WHY, "good > bad")]


def test_chosen_names_in_reads_names_in_mapped_columns(tmp_path: Path) -> None:
    row = SIDES | {"best": "response_b", "worst": "response_a", "winner": "a"}
    columns = {"prompt": "prompt", "chosen": "best", "rejected": "worst"}
    assert read(tmp_path, [row], columns=columns).ranked == [(WHY, "good > bad")]
    texts = SIDES | {"best": "good", "worst": "bad"}
    assert read(tmp_path, [texts], columns=columns).ranked == [(WHY, "good > bad")]


def test_scores_of_takes_a_tie_for_no_preference(tmp_path: Path) -> None:
    sides = {"prompt": "Why?", "response_a": "good", "response_b": "bad"}
    verdicts = ["tie", "both_bad", "tie (bothbad)", "Tie", "model_b", "A"]
    result = read(tmp_path, [sides | {"winner": verdict} for verdict in verdicts])
    assert [record["scores"] for record in result.records] == [[0, 1], [1, 0]]
    assert result.counts["dropped_no_preference"] == 4
