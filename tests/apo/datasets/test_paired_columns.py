"""apo/datasets/paired_columns.py: what a label says, and what the user says about it."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import WHY, read

NUMBERED = {"prompt": "Why?", "response1": "good", "response2": "bad"}
LETTERED = {"prompt": "Why?", "response_a": "good", "response_b": "bad"}


def test_unknown_label_is_refused_with_the_values_in_the_file(tmp_path: Path) -> None:
    rows = [NUMBERED | {"label": label} for label in (1, 0, 2, 1, 0, 0)]
    with pytest.raises(UserError) as error:
        read(tmp_path, rows)
    message = str(error.value)
    assert "x.jsonl:2: found 0 in 'label' for answers that end in '1' and '2'" in message
    assert "the values in the file are 0 (3), 1 (2), 2 (1)" in message
    assert "data.files.labels (data.hub.labels) what each value means: 1, 2 or tie" in message
    assert "to drop" not in message


def test_label_meanings_as_advised_give_the_records(tmp_path: Path) -> None:
    rows = [NUMBERED | {"label": label} for label in (1, 0, 2)]
    result = read(tmp_path, rows, labels={1: 1, 2: 2, 0: "tie"})
    assert result.ranked == [(WHY, "good > bad"), (WHY, "bad > good")]
    assert result.counts["dropped_no_preference"] == 1
    result = read(tmp_path, rows[:2], labels={0: 1, 1: 2})
    assert result.ranked == [(WHY, "bad > good"), (WHY, "good > bad")]


CODES: list[tuple[dict[str, Any], dict[Any, Any], list[Any]]] = [
    (LETTERED, {0: "a", 1: "b", -1: "tie"}, [0, 1, -1]),
    (LETTERED, {"A is better": "a", "B is better": "b", "C": "tie"}, ["A is better", "B is better", "C"]),
    (LETTERED, {True: "a", False: "b", "unsure": "tie"}, [True, False, "unsure"]),
    (NUMBERED, {"1": "1", "2": "2", "3": "tie"}, ["1", 2.0, 3]),
    ({"prompt": "Why?", "response_0": "good", "response_1": "bad"}, {1: 0, 2: 1, 3: "tie"}, [1, 2, 3]),
]


@pytest.mark.parametrize(("row", "labels", "values"), CODES)
def test_label_meanings_map_any_value(tmp_path: Path, row: dict, labels: dict, values: list) -> None:
    result = read(tmp_path, [row | {"label": value} for value in values], labels=labels)
    assert result.ranked == [(WHY, "good > bad"), (WHY, "bad > good")]
    assert result.issues == {"no_preference": 1}


def test_label_meanings_map_labels_of_other_formats(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "response_0": "good", "response_1": "bad"}
    rows = [row | {"better_response_id": value} for value in ("first", "second", "neither of them")]
    labels = {"first": 0, "second": 1, "neither of them": "tie"}
    assert [text for _, text in read(tmp_path, rows, labels=labels).ranked] == ["good > bad", "bad > good"]
    talks = {f"conversation_{end}": [{"role": "user", "content": "Why?"}] for end in "ab"}
    talks["conversation_a"] = [*talks["conversation_a"], {"role": "assistant", "content": "good"}]
    talks["conversation_b"] = [*talks["conversation_b"], {"role": "assistant", "content": "bad"}]
    result = read(tmp_path, [talks | {"winner": 7}], labels={7: "b"})
    assert result.ranked == [(WHY, "bad > good")]


TIES = [
    "tie",
    "Tie (bothbad)",
    "both_bad",
    "neither",
    "equal",
    "same",
    "no preference",
    "draw",
    "",
    None,
    "none",
]


@pytest.mark.parametrize("value", TIES)
def test_verdict_in_takes_an_undecided_row_for_no_preference(tmp_path: Path, value: Any) -> None:
    rows = [LETTERED | {"winner": "a"}, LETTERED | {"winner": value}]
    result = read(tmp_path, rows)
    assert (len(result.records), result.issues) == (1, {"no_preference": 1})


def test_verdict_in_refuses_or_drops_a_value_without_meaning(tmp_path: Path) -> None:
    rows = [LETTERED | {"winner": value} for value in (0, 5)]
    with pytest.raises(UserError, match=r"found 5 in 'winner'.*values in the file are 0 \(1\), 5 \(1\)"):
        read(tmp_path, rows, labels={0: "a", 1: "b"})
    assert len(read(tmp_path, rows, actions={"bad_score": "drop"}, labels={0: "a", 1: "b"}).records) == 1


@pytest.mark.parametrize(
    ("labels", "row", "message"),
    [
        ({0: "c"}, LETTERED | {"winner": 0}, "found 0: 'c'; expected a, b or tie"),
        (
            {0: "a"},
            {"prompt": "Why?", "chosen": "a", "rejected": "b"},
            "labels for a file of the format pairs",
        ),
    ],
)
def test_label_meanings_refuses_meaningless_labels(
    tmp_path: Path, labels: dict, row: dict, message: str
) -> None:
    with pytest.raises(UserError, match=rf"data\.files\.labels.*{message}"):
        read(tmp_path, [row], labels=labels)
