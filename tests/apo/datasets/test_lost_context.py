"""apo/datasets/column_use.py: context that is in no record is an error, in any writing and under any name."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, message, read, user

LOST_IN_ROWS: list[dict[str, Any]] = [
    {"question": "公司的总部在哪里?", "passage": "公司成立于1998年,总部位于北京。"},
    {"prompt": "Why?", "chat_template_kwargs": {"custom_instructions": "Answer like a pirate."}},
    {"prompt": "Why?", "chat_template_kwargs": {"xml_tools": [{"name": "f"}]}},
]


@pytest.mark.parametrize("row", LOST_IN_ROWS)
def test_context_in_any_writing_is_not_lost(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"data\.on_issue\.unsupported_column"):
        read(tmp_path, [row | PAIR])


def test_context_that_is_in_the_prompt_without_spaces_around_it_is_read(tmp_path: Path) -> None:
    row = {"prompt": 'Summarize the text: "A fox is a wild dog."', "passage": "A fox is a wild dog."}
    assert not read(tmp_path, [row | PAIR]).issues


def test_short_context_inside_a_word_is_lost(tmp_path: Path) -> None:
    row = {"prompt": "Which category is it?", "passage": "cat"}
    with pytest.raises(UserError, match=r"data\.on_issue\.unsupported_column"):
        read(tmp_path, [row | PAIR])


def test_arguments_of_a_template_that_are_no_text_are_ignored(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chat_template_kwargs": {"enable_thinking": False, "tools": []}}
    assert not read(tmp_path, [row | PAIR]).issues


def test_named_format_looks_for_lost_turns_too(tmp_path: Path) -> None:
    row = {
        "prompt": "And at night?",
        "conversation": [user("What is a fox?"), message("assistant", "A dog.")],
    }
    with pytest.raises(UserError, match=r"data\.on_issue\.unsupported_column"):
        read(tmp_path, [row | PAIR], format="pairs")


def test_row_with_an_index_without_a_name_is_read_or_refused(tmp_path: Path) -> None:
    row = {"": "0", "chosen": [message("assistant", "a")], "rejected": [message("assistant", "b")]}
    with pytest.raises(UserError, match="role"):
        read(tmp_path, [row])


def test_type_may_be_missing_or_a_number(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", **PAIR, "type": None}, {"prompt": "How?", **PAIR, "type": 3}]
    assert [row["type"] for row in read(tmp_path, rows).records] == ["", "3"]
