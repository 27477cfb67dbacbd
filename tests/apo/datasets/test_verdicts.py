"""apo/datasets/verdicts.py: what a label says, and what the user says about it."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.settings import Files
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


@pytest.mark.parametrize("values", [("0", "1"), ("-2", "2"), ("1", "1.5e1")])
def test_verdict_in_never_drops_a_number_that_is_a_text(tmp_path: Path, values: tuple[str, str]) -> None:
    """Labels 0 and 1 with each 0 left out would say that all of the first answers are better."""
    rows = [NUMBERED | {"label": value} for value in values]
    with pytest.raises(UserError, match=r"the values in the file are .* what each value means") as error:
        read(tmp_path, rows, actions={"bad_score": "drop"})
    assert "to drop" not in str(error.value)
    result = read(tmp_path, rows, labels={values[0]: 1, values[1]: 2})
    assert result.ranked == [(WHY, "good > bad"), (WHY, "bad > good")]


WORDS = [
    ("[[A]]", "good > bad"),
    ("[[B>A]]", "bad > good"),
    ("A>>B", "good > bad"),
    ("A < B", "bad > good"),
    ("Option A", "good > bad"),
    ("B is better", "bad > good"),
]


@pytest.mark.parametrize(("word", "ranked"), WORDS)
def test_verdict_in_takes_words_of_judges(tmp_path: Path, word: str, ranked: str) -> None:
    assert read(tmp_path, [LETTERED | {"winner": word}]).ranked == [(WHY, ranked)]


@pytest.mark.parametrize("word", ["left", "[[C]]", "A<>B", "A>A"])
def test_verdict_in_refuses_words_that_name_no_answer(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match=r"found str .* in 'winner' for answers that end in 'a' and 'b'"):
        read(tmp_path, [LETTERED | {"winner": word}])


# The winner under the name of a model --------------------------------------------------------------

NAMED = [
    LETTERED | {"model_a": "gpt-4", "model_b": "llama", "winner": "gpt-4"},
    LETTERED | {"model_a": "llama", "model_b": "gpt-4", "winner": "gpt-4"},
]
MAPPED = {"prompt": "prompt", "response_a": "response_a", "response_b": "response_b", "winner": "winner"}


@pytest.mark.parametrize("columns", [{}, MAPPED])
def test_verdict_of_finds_the_answer_of_a_model_in_each_row(tmp_path: Path, columns: dict) -> None:
    both = [(WHY, "good > bad"), (WHY, "bad > good")]
    assert read(tmp_path, NAMED, columns=columns).ranked == both
    rows = [*NAMED, NAMED[0] | {"winner": "not clear"}]
    assert read(tmp_path, rows, columns=columns, labels={"not clear": "tie"}).ranked == both
    with pytest.raises(UserError, match=r"which is a model, as 'model_a' says.*leave it out of the labels"):
        read(tmp_path, NAMED, columns=columns, labels={"gpt-4": "a"})


def test_verdict_of_takes_models_that_the_user_names(tmp_path: Path) -> None:
    renamed = {"model_a": "left_model", "model_b": "right_model"}
    rows = [{renamed.get(key, key): value for key, value in row.items()} for row in NAMED]
    with pytest.raises(
        UserError, match=r"which is a model, as 'left_model' says.*columns model_a and model_b"
    ):
        read(tmp_path, rows, actions={"bad_score": "drop"})
    assert read(tmp_path, rows, columns=MAPPED | renamed).ranked == [
        (WHY, "good > bad"),
        (WHY, "bad > good"),
    ]


@pytest.mark.parametrize("models", [("same", "same"), ("B", "same"), ("tie", "x")])
def test_verdict_of_refuses_a_name_of_both(tmp_path: Path, models: tuple[str, str]) -> None:
    row = LETTERED | dict(zip(("model_a", "model_b"), models, strict=True)) | {"winner": models[0]}
    with pytest.raises(UserError, match=r"which is a model|which could name either"):
        read(tmp_path, [row], actions={"bad_score": "drop"})


# Labels as parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "cells"),
    [
        ({1.0: "a", 0.0: "b"}, ("1.0", "0.0")),
        ({1: "a", 0: "b"}, ("1.0", "0")),
        ({"1.0": "a", "0": "b"}, ("1", "0.0")),
        ({True: "a", False: "b"}, ("True", "FALSE")),
        ({"Good One": "a", "other": "b"}, ("good one", "Other")),
    ],
)
def test_label_key_is_blind_to_case_and_ways_to_write_a_number(
    tmp_path: Path, labels: dict, cells: tuple[str, str]
) -> None:
    path = tmp_path / "x.csv"
    rows = [f"Why?,good,bad,{cell}" for cell in (*cells, "", "Tie")]
    path.write_text("\n".join(["prompt,response_a,response_b,label", *rows]))
    result = read(path, labels=labels)
    assert result.ranked == [(WHY, "good > bad"), (WHY, "bad > good")]
    assert result.issues == {"no_preference": 2}


def test_label_meanings_refuses_two_meanings_of_one_value(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels.*found 1\.0: 'b', and another meaning"):
        read(tmp_path, [LETTERED | {"winner": 1}], labels={1: "a", "1.0": "b"})


def test_label_meanings_take_null_from_yaml(tmp_path: Path) -> None:
    files = Files.of({}, {}, {None: "tie", 1: "a", 0: "b"})
    rows = [LETTERED | {"winner": value} for value in (1, None, 0)]
    result = read(tmp_path, rows, labels=files.labels)
    assert (len(result.records), result.issues) == (2, {"no_preference": 1})


@pytest.mark.parametrize("label", [[1, 0], {"a": 1, "b": 0}, ["a"]])
def test_a_label_that_is_no_single_value_is_not_for_the_labels(tmp_path: Path, label: object) -> None:
    row = {"prompt": "Why?", "response_a": "good", "response_b": "bad", "winner": label}
    with pytest.raises(UserError, match="write a, b or tie in the rows") as error:
        read(tmp_path, [row])
    assert "data.files.labels" not in str(error.value)
