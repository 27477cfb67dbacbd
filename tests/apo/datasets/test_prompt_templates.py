"""apo/datasets/prompt_templates.py: text around the prompt in a second column is a template, or is named."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, read

FOX = "User: What is a fox?\nBot: A wild dog.\nUser: And at night?"
NIGHT = {"prompt": "And at night?", **PAIR}
BRAZIL = "Answer in French. France beat Brazil 3-0 in 1998. Who won?"
WON = {"question": "Who won?", **PAIR}
PIRATE = "<s>[INST] <<SYS>>You are a pirate.<</SYS>> Who won? [/INST]"
LOST: list[dict[str, Any]] = [
    *(NIGHT | {key: FOX} for key in ("conversation", "dialogue", "inputs", "background", "passage", "query")),
    WON | {"messages": [{"role": "user", "content": BRAZIL}]},
    WON | {"conversations": [{"from": "human", "value": BRAZIL}]},
    WON | {"query": BRAZIL},
    WON | {"inputs": PIRATE},
    WON | {"passage": "It was said in 1998: Who won? Nobody knew."},
]


@pytest.mark.parametrize("row", LOST)
def test_prompt_templates_names_text_around_the_prompt_of_one_row(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    for rows in ([row], [row] * 2):
        with pytest.raises(UserError, match=r"a filled column .* is not in the record.*unsupported_column"):
            read(tmp_path, rows)
    result = read(tmp_path, [row], actions={"unsupported_column": "keep"})
    assert (len(result.records), result.issues["unsupported_column"]) == (1, 1)


def around(prompt: str, form: str, key: str = "query") -> dict[str, Any]:
    return {"prompt": prompt, key: form.format(prompt), **PAIR}


def test_prompt_templates_counts_a_template_that_all_rows_share(tmp_path: Path) -> None:
    forms = [around(prompt, "Human, answer this: {} Thanks") for prompt in ("Why?", "How?", "Why?")]
    result = read(tmp_path, forms)
    assert (len(result.records), result.issues) == (3, {"unread_column": 3})
    assert result.counts["templates_around_prompts"] == 3
    with pytest.raises(UserError, match=r"x\.jsonl:1: found a filled column 'query'"):
        read(tmp_path, [*forms, around("Who?", "In French: {}")])


def test_prompt_templates_takes_no_shared_turns_for_a_template(tmp_path: Path) -> None:
    form = "User: What is a fox?\nBot: A wild dog.\nUser: {}"
    with pytest.raises(UserError, match="a filled column 'dialogue'"):
        read(tmp_path, [around(prompt, form, "dialogue") for prompt in ("Why?", "How?")])


@pytest.mark.parametrize(
    "form",
    [
        "<s>[INST] {} [/INST]",
        "<|im_start|>user\n{} <|im_end|>\n<|im_start|>assistant\n",
        "Question: {} Answer:",
        "User: What is a fox?\nBot: A wild dog.\nUser: {}",
    ],
)
def test_prompt_templates_takes_marks_around_the_turns_of_the_record_for_a_template(
    tmp_path: Path, form: str
) -> None:
    history = {"history": [["What is a fox?", "A wild dog."]]}
    result = read(tmp_path, [around("Why?", form, "inputs") | history])
    assert (len(result.records), result.counts["templates_around_prompts"]) == (1, 1)
