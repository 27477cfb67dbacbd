"""apo/datasets/column_use.py: every column is accounted for, and much text that is not read is an issue."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, read

CHINESE = "今天天气很好我们一起去公园散步吧顺便买点吃的东西回家"
TALK = "The fox said that it would come back when the moon is up and the dogs are asleep."
ROW = {"prompt": "Why?", **PAIR}


def test_column_use_names_the_use_of_every_column(tmp_path: Path) -> None:
    rows = [ROW | {"query_id": "1", "type": "t", "score_chosen": 5, "score_rejected": 3, "source": "s"}]
    assert read(tmp_path, [*rows, rows[0] | {"later": 1}]).columns == {
        "prompt": "prompt",
        "chosen": "chosen",
        "rejected": "rejected",
        "query_id": "query_id",
        "type": "type",
        "score_chosen": "grade, compared with the order",
        "score_rejected": "grade, compared with the order",
        "source": "not read",
        "later": "not read",
    }
    votes = [{"prompt": "Why?", "answer_a": "good", "answer_b": "bad", "winner": "a", "judge": "x"}]
    assert read(tmp_path, votes).columns == {
        "prompt": "prompt",
        "answer_a": "response",
        "answer_b": "other response",
        "winner": "label",
        "judge": "not read",
    }


def test_column_use_names_mapped_columns_as_in_the_file(tmp_path: Path) -> None:
    row = {"post": {"text": "Why?"}, "ups": ["good", "bad"], "system": "Be brief.", "more": TALK}
    columns = {"prompt": "post.text", "chosen": "ups.0", "rejected": "ups.1"}
    assert read(tmp_path, [row], columns=columns).columns == {
        "post": "prompt",
        "ups": "chosen, rejected",
        "system": "system text",
        "more": "not read",
    }


@pytest.mark.parametrize(
    "value",
    [TALK, [TALK], {"turns": [{"text": TALK}]}, CHINESE],
)
def test_column_use_reports_much_unread_text(tmp_path: Path, value: object) -> None:
    result = read(tmp_path, [ROW | {"previous": value}])
    assert (result.issues, result.counts["kept_unread_column"]) == ({"unread_column": 1}, 1)
    assert "most of it in 'previous'" in result.examples[0]["found"]
    with pytest.raises(UserError, match=r"data\.on_issue\.unread_column to drop or keep"):
        read(tmp_path, [ROW | {"previous": value}], actions={"unread_column": "error"})
    assert read(tmp_path, [ROW | {"previous": value}], actions={"unread_column": "drop"}).records == []


def test_column_use_does_not_report_repeated_text_names_or_little_text(tmp_path: Path) -> None:
    twice = {"prompt": TALK, "chosen": TALK * 2, "rejected": "no", "messages": [{"content": TALK}]}
    named = ROW | {
        "model": "meta-llama/Llama-3.1-8B-Instruct-Turbo",
        "url": "https://example.org/a/very/long/path",
    }
    little = {"prompt": TALK * 4, "chosen": TALK, "rejected": "no", "note": TALK}
    for row in (twice, named, little):
        assert read(tmp_path, [row]).issues == {}
    assert read(tmp_path, [little | {"note": TALK.upper() * 2}]).issues == {"unread_column": 1}


SHORT: dict[str, Any] = {
    "a list of short turns": ["What is a fox?", "A wild dog."],
    "pairs of short turns": [["What is a fox?", "A wild dog."]],
    "messages under another name": [{"who": "me", "said": "What is a fox?"}, {"said": "A wild dog."}],
    "a Chinese sentence": "我喜欢吃苹果和梨子",
    "a Korean sentence": "여우는 무엇입니까",
}


@pytest.mark.parametrize("name", SHORT)
def test_column_use_adds_up_short_texts(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, [ROW | {"note": SHORT[name]}]).issues == {"unread_column": 1}


@pytest.mark.parametrize("tags", [["science", "animals", "questions", "foxes"], {"a": "wild life"}, "动物"])
def test_column_use_does_not_count_names_and_labels(tmp_path: Path, tags: object) -> None:
    assert read(tmp_path, [ROW | {"tags": tags}]).issues == {}


NAMES = [
    "conversation",
    "dialog",
    "chat",
    "past_user_inputs",
    "facts",
    "contexts",
    "inputs",
    "背景",
    "系统提示",
    "dialogue_context",
    "conversation_so_far",
    "preamble",
    "passage",
]


@pytest.mark.parametrize("key", NAMES)
def test_column_use_names_a_part_of_the_prompt_under_another_name(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"a filled column '{key}', whose text is not in the record"):
        read(tmp_path, [ROW | {key: ["Hi", "Ho"]}])
    with pytest.raises(UserError, match=rf"a filled column '{key}'"):
        read(tmp_path, [{"q": "Why?", key: "Hi", **PAIR}], columns={"prompt": "q"})
    for other in (["Why?", "good"], None, [], "", 2, "2", "conv-0017"):
        assert read(tmp_path, [ROW | {key: other}]).issues == {}
    row = ROW | {key: [["Hi", "Ho"]]}
    ((query, _),) = read(tmp_path, [row], columns={"history": key}).ranked
    assert query == "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: Why?\n\nAssistant:"


@pytest.mark.parametrize(
    "key",
    ["Image", "img", "imgPath", "picture", "photo_url", "audio_filepath", "Video Files", "availableTools"],
)
def test_column_use_names_media_in_any_spelling(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"a filled column '{key}', which is not read"):
        read(tmp_path, [ROW | {key: "a.png"}])
    assert read(tmp_path, [ROW | {key: None}, ROW | {key: ""}]).issues == {}


def test_column_use_names_a_second_prompt_in_another_language(tmp_path: Path) -> None:
    row = {"问题": "Why?", "提示": "In a word.", **PAIR}
    with pytest.raises(UserError, match="a filled column '提示', whose text is not in the record"):
        read(tmp_path, [row])
    assert read(tmp_path, [row | {"提示": "Why?"}]).columns == {
        "问题": "prompt",
        "提示": "not read",
        "chosen": "chosen",
        "rejected": "rejected",
    }


INSIDE: list[tuple[dict[str, Any], str]] = [
    (
        {"prompt": "Why?", "chosen": [{"role": "assistant", "content": "good", "reasoning_content": TALK}]},
        "chosen",
    ),
    (
        {"prompt": [{"role": "user", "content": "Why?", "thought": {"text": TALK}}], "chosen": "good"},
        "prompt",
    ),
    ({"prompt": {"full_text": "Why?", "notes": [TALK]}, "chosen": "good"}, "prompt"),
]


@pytest.mark.parametrize(("row", "column"), INSIDE)
def test_column_use_reports_much_unread_text_inside_a_column(
    tmp_path: Path, row: dict[str, Any], column: str
) -> None:
    rejected = "bad" if isinstance(row["chosen"], str) else [{"role": "assistant", "content": "bad"}]
    result = read(tmp_path, [row | {"rejected": rejected}])
    assert result.issues == {"unread_column": 1}
    assert f"most of it in '{column}." in result.examples[0]["found"]


def test_column_use_counts_no_field_that_is_read(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": f" {TALK}\n"}, {"type": "text", "text": CHINESE}]
    talk = [{"role": "user", "content": parts, "id": "7f3c"}, {"role": "assistant", "content": TALK.upper()}]
    row = {"chosen": talk, "rejected": [talk[0], {"role": "assistant", "content": CHINESE * 2}]}
    assert read(tmp_path, [row]).issues == {}
