"""apo/datasets/recognize.py: rows of no format, or of several, are refused with what they could be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from tests.helpers.reading import (
    GOOD,
    JOINED,
    PAIR,
    TALK,
    WHY,
    asked,
    read,
    read_by,
    write,
)

Row = dict[str, Any]
KTO = {"prompt": "Why?", "completion": "good", "label": True}
SIDES = {"prompt": "Why?", "response_a": "good", "response_b": "bad"}
MESSAGES = "[{'role': 'user', 'content': 'Why?'}, {'role': 'assistant', 'content': 'good'}]"

REFUSED: dict[str, tuple[Row, str]] = {
    "trl-lib/kto-mix-14k": (KTO, "one answer .* as KTO takes them"),
    "the same as messages": (KTO | {"prompt": asked("x")[:1], "completion": asked("x")[1:]}, "as KTO takes"),
    "PKU-Alignment/BeaverTails": ({"prompt": "Why?", "response": "x", "is_safe": False}, "as KTO takes them"),
    "rows in an object": ({"data": [{"prompt": "Why?", **PAIR}]}, "all rows under 'data'"),
    "TRL, implicit": (PAIR, "text that is no dialogue"),
    "a number for a letter": (SIDES | {"winner": 1}, "a number of the better one, or its letter"),
    "an index for a number": (
        {"prompt": "Why?", "output_1": "a", "output_2": "b", "preference": 0},
        "found 0 in 'preference' for answers that end in '1' and '2'",
    ),
    "a verdict that is none": (SIDES | {"winner": "model_a_strong"}, "found str 'model_a_strong'"),
    "messages as Python writes them": (
        {"prompt": "Why?", "chosen": MESSAGES, "rejected": MESSAGES},
        "messages written as a text",
    ),
    "lists of answers to no prompt": ({"chosen": ["a"], "rejected": ["b"]}, "found str 'a' in 'chosen'"),
    "paired answers to no prompt": (
        {"conv_a": "good", "conv_b": "bad", "winner": "a"},
        "found str 'good' in 'conv_a'; expected a list of messages",
    ),
    "whole dialogues behind a prompt": (
        {"prompt": "Why?", "chosen": f"{WHY} good", "rejected": f"{WHY} bad"},
        "a whole dialogue",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_recognize_explains_what_is_no_comparison(tmp_path: Path, name: str) -> None:
    row, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x.jsonl", [row])


Reader = Callable[..., Any]


@pytest.mark.parametrize(
    ("reader", "row"),
    [
        (read_comparisons, {"a": 1}),
        (read_comparisons, {"query": WHY, "golden": "a"}),
        (read_comparisons, {**GOOD, **JOINED}),
        (read_comparisons, {**JOINED, "score": [1, 0]}),
        (read_comparisons, {**GOOD, "chosen": "a", "rejected": "b"}),
        (read_golden, GOOD),
        (read_samples, {"query": WHY, "golden": "a"}),
        (read_samples, {"query": WHY, "samples": ["a"], "sample_0": "a"}),
        (read_demonstrations, {"query": WHY, "golden": "a", "sample_0": "b"}),
        (read_demonstrations, {"query": WHY}),
    ],
)
def test_recognize_lists_keys_and_formats_of_an_unknown_row(
    tmp_path: Path, reader: Reader, row: dict
) -> None:
    with pytest.raises(UserError) as error:
        read_by(reader, write(tmp_path / "x.jsonl", [row]))
    assert f"x.jsonl:1: found keys {sorted(row)}" in str(error.value)
    assert "expected one of" in str(error.value)


def test_recognize_names_two_possible_prompts(tmp_path: Path) -> None:
    row = {"prompt": "a", "question": "b", "chosen": "c", "rejected": "d"}
    with pytest.raises(UserError, match=r"of which prompt and question could each be the prompt"):
        read(tmp_path, [row])


def test_recognize_lists_possible_formats_and_takes_the_named_one(tmp_path: Path) -> None:
    comparison = {"query": WHY, "responses": ["x", "y"], "scores": [1, 2]}
    row = {**comparison, "prompt": "Why?", "chosen": "good", "rejected": "bad"}
    with pytest.raises(UserError) as error:
        read(tmp_path, [row])
    assert "one of: responses (query, responses, scores); pairs (prompt, chosen, rejected)" in str(
        error.value
    )
    assert "data.format" in str(error.value)
    assert read(tmp_path, [row], format="pairs").records[0]["responses"] == ["good", "bad"]
    assert read(tmp_path, [row], format="responses").records[0]["responses"] == ["x", "y"]
    with pytest.raises(UserError, match=r"of no known format; expected one of: arena \(conversation_a"):
        read(tmp_path, [row], format="arena")
    with pytest.raises(UserError, match=r"data\.format: found 'pears'; expected '' or one of: responses"):
        read(tmp_path, [row], format="pears")


def test_recognize_takes_a_named_format_with_keys_of_another(tmp_path: Path) -> None:
    row = {"question": "a template", "chosen": f"{TALK} good", "rejected": f"{TALK} bad"}
    assert read(tmp_path, [row], format="dialogues").records[0]["query"] == TALK


@pytest.mark.parametrize(
    ("reader", "kind"),
    [(read_comparisons, "comparisons"), (read_golden, "golden"), (read_samples, "samples")],
)
def test_recognize_names_the_parameter_of_the_kind(tmp_path: Path, reader: Any, kind: str) -> None:
    with pytest.raises(UserError, match=rf"map columns under data\.files\.columns\.{kind} \(data\.hub"):
        read(tmp_path, [{"problem": "Why?", "solution": "So"}], reader)
