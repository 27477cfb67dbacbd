"""apo/datasets/prompts.py: of several prompts none is lost."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.prompts import turn_texts
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from tests.helpers.reading import PAIR, TALK, WHY, asked, read, talk

SEVERAL: list[dict[str, Any]] = [
    {"query": "Why?", "context": "Foxes."},
    {"query": "Why?", "input": "Foxes."},
    {"query": "Why?", "instruction": "Answer."},
    {"messages": asked("x")[:1], "context": "Foxes."},
    {"messages": talk("x"), "prompt": "Why?"},
]


@pytest.mark.parametrize("prompts", SEVERAL)
def test_prompts_of_names_prompts_with_other_texts(tmp_path: Path, prompts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"could each be the prompt"):
        read(tmp_path, [{**prompts, **PAIR}])


def test_prompts_of_names_several_prompts_of_a_demonstration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of which context and query could each be the prompt"):
        read(tmp_path, [{"query": "Why?", "context": "Foxes.", "response": "good"}], read_demonstrations)


REPEATED: list[dict[str, Any]] = [
    {"query": WHY, "prompt": "Why?"},
    {"query": "<s>[INST] Why? [/INST]", "prompt": "Why?"},
    {"query": "Why?\n\n1 and 2", "instruction": "Why?", "input": "1 and 2"},
    {"messages": asked("good"), "question": "Why?"},
    {"conversations": asked("good")[:1], "prompt": WHY},
]


@pytest.mark.parametrize("prompts", REPEATED)
def test_prompts_of_leaves_a_prompt_that_repeats_another_unread(
    tmp_path: Path, prompts: dict[str, Any]
) -> None:
    result = read(tmp_path, [{**prompts, **PAIR}])
    ((query, _),) = result.ranked
    assert query == (WHY.replace("?", "?\n\n1 and 2") if "input" in prompts else WHY)
    assert result.columns[next(iter(prompts))] == "not read"


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_prompts_of_takes_the_longer_conversation(tmp_path: Path, key: str) -> None:
    row = {key: talk("x")[:-1], "question": "Why?", **PAIR}
    assert read(tmp_path, [row]).ranked == [(TALK, "good > bad")]
    short = {**row, key: asked("x")[:1]}
    with pytest.raises(UserError, match=rf"x\.jsonl:2: found a filled column '{key}', whose text .*'Hi'"):
        read(tmp_path, [short, row])
    columns = {"prompt": key}
    assert [query for query, _ in read(tmp_path, [short, row], columns=columns).ranked] == [WHY, TALK]


@pytest.mark.parametrize(
    ("prompt", "about"),
    [("query", "context"), ("instruction", "context"), ("prompt", "input"), ("question", "context")],
)
def test_join_advice_names_columns_that_are_read_together(tmp_path: Path, prompt: str, about: str) -> None:
    row = {about: "Foxes.", prompt: "Why?", **PAIR}
    with pytest.raises(UserError, match=rf"to read both, map `prompt: {prompt}` and `input: {about}`"):
        read(tmp_path, [row])
    columns = {"prompt": prompt, "input": about}
    assert read(tmp_path, [row], columns=columns).ranked == [
        ("\n\nHuman: Why?\n\nFoxes.\n\nAssistant:", "good > bad")
    ]


def test_a_prompt_may_be_a_list_of_one_text(tmp_path: Path) -> None:
    assert read(tmp_path, [{"prompt": ["Why?"], **PAIR}]).ranked == [(WHY, "good > bad")]
    sides = {side: asked(text)[1:] for side, text in PAIR.items()}
    assert read(tmp_path, [{"question": ["Why?"], **sides}]).ranked == [(WHY, "good > bad")]
    with pytest.raises(UserError, match=r"a list of 3 texts in 'prompt'.*write them as messages"):
        read(tmp_path, [{"prompt": ["Hi", "Ho", "Why?"], **PAIR}])


def test_a_query_may_be_messages(tmp_path: Path) -> None:
    messages = talk("x")[:-1]
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (read_golden, {"golden": "good"}),
        (read_samples, {"samples": ["good", "bad"]}),
        (read_samples, {"sample_0": "good", "sample_1": "bad"}),
        (read_comparisons, {"responses": ["good", "bad"], "scores": [1, 0]}),
        (read_demonstrations, {"golden": "good"}),
    ]
    for reader, row in kinds:
        [record] = read(tmp_path, [{"query": messages, **row}], reader).records
        assert record["query"] == TALK
        with pytest.raises(UserError, match=r"x\.jsonl:1.*data\.on_issue\.role_order"):
            read(tmp_path, [{"query": talk("x"), **row}], reader)


def test_turn_texts_reads_lists_of_any_depth() -> None:
    value: Any = "Why?"
    for _ in range(5000):
        value = [value, {"a": None}]
    assert turn_texts(value) == ["Why?"]
