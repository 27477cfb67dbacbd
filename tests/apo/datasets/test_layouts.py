"""Layouts that tools write: a list of scores beside a list of responses, messages before two answers."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_samples
from tests.helpers.reading import WHY, answer, read, user

USER = user("Why?")


@pytest.mark.parametrize("key", ["prompt", "question", "instruction"])
def test_a_list_of_scores_beside_a_list_of_responses(tmp_path: Path, key: str) -> None:
    rows = [{key: "Why?", "responses": ["bad", "good"], "scores": [-1, 2.5]}]
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")]
    [samples] = read(tmp_path, rows, reader=read_samples).records
    assert samples["samples"] == ["bad", "good"] and samples["source_rewards"] == [-1.0, 2.5]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        (answer("good"), answer("bad")),
        ([answer("good")], [answer("bad")]),
        ("good", "bad"),
        ([USER, answer("good")], [USER, answer("bad")]),
    ],
)
def test_messages_before_two_answers(tmp_path: Path, chosen: Any, rejected: Any) -> None:
    rows = [{"messages": [USER], "chosen": chosen, "rejected": rejected}]
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")]


def test_messages_that_repeat_the_chosen_conversation_are_no_prompt(tmp_path: Path) -> None:
    conversations = {"chosen": [USER, answer("good")], "rejected": [USER, answer("bad")]}
    for prompt in ({}, {"prompt": "Why?"}):
        rows = [{"messages": conversations["chosen"], **prompt, **conversations}]
        read_rows = read(tmp_path, rows)
        assert read_rows.ranked == [(WHY, "good > bad")] and read_rows.columns["messages"] == "not read"


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("bevorzugt", "abgelehnt"),
        ("elegido", "rechazado"),
        ("escolhida", "rejeitada"),
        ("好的回答", "坏的回答"),
    ],
)
def test_answers_under_names_of_other_languages(tmp_path: Path, chosen: str, rejected: str) -> None:
    assert read(tmp_path, [{"prompt": "Why?", chosen: "good", rejected: "bad"}]).ranked == [
        (WHY, "good > bad")
    ]


def test_the_first_and_the_second_answer(tmp_path: Path) -> None:
    answers = {"prompt": "Why?", "answer_1": "good", "answer_2": "bad"}
    rows = [answers | {"preference": label} for label in ("first", "Second", "equal")]
    read_rows = read(tmp_path, rows)
    assert read_rows.ranked == [(WHY, "good > bad"), (WHY, "bad > good")]
    assert read_rows.counts["dropped_no_preference"] == 1


@pytest.mark.parametrize(
    ("key", "values"),
    [("rewards", [-1, 2.5]), ("ratings", ["1", "2"]), ("ranks", [2, 1]), ("ranks", [1, 0])],
)
def test_a_list_of_rewards_or_ranks_beside_a_list_of_responses(
    tmp_path: Path, key: str, values: list[Any]
) -> None:
    rows = [{"prompt": "Why?", "responses": ["bad", "good"], key: values}]
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")]
    [samples] = read(tmp_path, rows, reader=read_samples).records
    assert samples["source_rewards"][0] < samples["source_rewards"][1]


def test_rewards_and_ranks_at_once_are_refused_with_advice_that_works(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "responses": ["bad", "good"], "rewards": [1, 2], "ranks": [2, 1]}]
    with pytest.raises(UserError, match="such as `rewards: rewards`"):
        read(tmp_path, rows)
    columns = {"prompt": "prompt", "responses": "responses", "rewards": "rewards"}
    assert read(tmp_path, rows, columns=columns).ranked == [(WHY, "good > bad")]


LIST = [{"response": "bad", "rank": 2}, {"response": "good", "rank": 1}]
PATHS = {f"response_{n}": f"responses.{n}.response" for n in range(2)}


@pytest.mark.parametrize(
    "columns",
    [{"scores": "ranks"}, PATHS | {f"score_{n}": f"responses.{n}.rank" for n in range(2)}],
)
def test_a_rank_is_never_a_score(tmp_path: Path, columns: dict[str, str]) -> None:
    row = {"prompt": "Why?", "responses": ["bad", "good"], "ranks": [2, 1]}
    row = row if "scores" in columns else {"prompt": "Why?", "responses": LIST}
    with pytest.raises(UserError, match="by its name a rank; expected a score"):
        read(tmp_path, [row], columns={"prompt": "prompt"} | columns)


def test_a_list_of_graded_records_is_read_as_the_message_says(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "responses": LIST}]
    with pytest.raises(UserError, match="`answers: responses`"):
        read(tmp_path, rows)
    columns = {"prompt": "prompt", "answers": "responses"}
    assert read(tmp_path, rows, columns=columns).ranked == [(WHY, "good > bad")]


SAMPLES = {"query": "Why?", "sample_0": "bad", "sample_1": "good"}
LISTED = {"query": "Why?", "samples": ["bad", "good"]}
SCORED: list[dict[str, Any]] = [
    SAMPLES | {"score_0": -1, "score_1": 2},
    SAMPLES | {"reward_0": "-1", "reward_1": 2.0},
    SAMPLES | {"scores": {"sample_0": -1, "sample_1": 2}},
    LISTED | {"sample_scores": [-1, 2]},
    LISTED | {"ratings": [-1, "2"]},
    LISTED | {"ranks": [1, -2]},
]


@pytest.mark.parametrize("row", SCORED)
def test_scores_beside_samples_are_rewards_of_the_source(tmp_path: Path, row: dict[str, Any]) -> None:
    result = read(tmp_path, [row], reader=read_samples)
    assert result.records[0]["source_rewards"] == [-1.0, 2.0]
    assert "not read" not in result.columns.values()


def test_scores_of_some_samples_are_an_issue(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no score of sample_1"):
        read(tmp_path, [SAMPLES | {"score_0": 1}], reader=read_samples)
    with pytest.raises(UserError, match="1 values for 2 responses in 'sample_scores'"):
        read(tmp_path, [LISTED | {"sample_scores": [1]}], reader=read_samples)


def test_a_list_of_ranks_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('prompt,responses,ranks\nWhy?,"[""bad"", ""good""]","[2, 1]"\n')
    assert read(path).ranked == [(WHY, "good > bad")]
