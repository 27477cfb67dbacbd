"""Layouts that tools write: a list of scores beside a list of responses, messages before two answers."""

from pathlib import Path
from typing import Any

import pytest

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
