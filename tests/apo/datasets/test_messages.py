"""apo/datasets/messages.py: messages in every spelling."""

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, TALK, WHY, message, read, talk


def sides(asked: dict[str, Any], name: str, content: str, role: str) -> dict[str, Any]:
    return {side: [asked, {name: role, content: text}] for side, text in PAIR.items()}


SPELLINGS: dict[str, dict[str, Any]] = {
    "from and content": sides({"from": "human", "content": "Why?"}, "from", "content", "gpt"),
    "capital letters": sides({"role": "User", "content": "Why?"}, "role", "content", "Assistant"),
    "role and value": sides({"role": "user", "value": "Why?"}, "role", "value", "assistant"),
    "role and text": sides({"role": "prompter", "text": "Why?"}, "role", "text", "assistant"),
    "speaker and text": sides({"speaker": "Human", "text": "Why?"}, "speaker", "text", "Bot"),
    "parts under value": sides(
        {"from": "human", "value": [{"type": "text", "value": "Why?"}]}, "from", "value", "gpt"
    ),
    "parts": {
        side: [{"role": "user", "parts": ["Why?"]}, {"role": "model", "parts": [{"text": text}]}]
        for side, text in PAIR.items()
    },
    "parts beside a blank content": sides(
        {"role": "user", "content": "", "parts": [{"type": "text", "text": "Why?"}]},
        "role",
        "content",
        "assistant",
    ),
    "utterances": sides({"speaker": "User", "utterance": "Why?"}, "speaker", "utterance", "Assistant"),
    "a content with a text": sides(
        {"role": "user", "content": {"text": "Why?"}}, "role", "content", "assistant"
    ),
    "a content with parts": sides(
        {"role": "user", "content": {"content_type": "text", "parts": ["Why?"]}},
        "role",
        "content",
        "assistant",
    ),
    "parts of input": sides(
        {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}, "role", "content", "assistant"
    ),
    "parts of output": {
        side: [
            message("user", "Why?"),
            {"role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]},
        ]
        for side, text in PAIR.items()
    },
    "parts that are texts": sides({"role": "user", "content": ["Why?"]}, "role", "content", "assistant"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_messages_in_reads_every_spelling(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, [SPELLINGS[name]]).ranked == [(WHY, "good > bad")]


NOT_TEXT: list[tuple[dict[str, Any], str]] = [
    ({"role": "tool", "content": "42"}, "the role of a tool"),
    ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "a part of type 'image_url'"),
    ({"role": "assistant", "content": "I look", "tool_calls": [{"name": "search"}]}, "'tool_calls'"),
    ({"from": "observation", "value": "42"}, "the role of a tool"),
    ({"role": "environment", "content": "42"}, "the role of a tool"),
    ({"role": "system", "content": "Call.", "functions": "[{}, 1]"}, "'functions'"),
    ({"role": "assistant", "content": "I look", "function_calls": "weather()"}, "'function_calls'"),
    ({"from": "function_call", "value": "{}"}, "the role of a tool"),
    ({"role": "user", "content": {"type": "image", "url": "a"}}, "a part of type 'image'"),
    ({"role": "user", "content": "Hi", "parts": [{"type": "file", "url": "a"}]}, "a part of type 'file'"),
    ({"role": "user", "content": "Hi", "images": ["a.png"]}, "'images'"),
    ({"role": "user", "content": "Hi", "image": {"not read": "binary"}}, "'image'"),
    ({"role": "user", "content": "Hi", "files": [{"name": "a.pdf"}]}, "'files'"),
    ({"role": "user", "content": "Hi", "attachments": ["a"]}, "'attachments'"),
]


@pytest.mark.parametrize(("message", "expected"), NOT_TEXT)
def test_messages_in_names_a_message_that_is_not_text(tmp_path: Path, message: dict, expected: str) -> None:
    good = SPELLINGS["capital letters"]
    bad = {side: [*good[side][:1], message, *good[side][1:]] for side in PAIR}
    with pytest.raises(UserError, match=rf"message 2: found {expected}.*unsupported_message to drop"):
        read(tmp_path, [good, bad])
    assert len(read(tmp_path, [good, bad], actions={"unsupported_message": "drop"}).records) == 1


def test_messages_in_takes_two_answers_of_turns_for_no_preference(tmp_path: Path) -> None:
    row = {
        "prompt": ["hi", "more"],
        "response_a": ["a1", "a2"],
        "response_b": ["b1", "b2"],
        "winner": "model_b",
    }
    with pytest.raises(UserError, match="write turns as messages"):
        read(tmp_path, [row])


def test_messages_in_reads_a_message_with_an_empty_list_of_images(tmp_path: Path) -> None:
    row = {side: [{**turn, "images": []} for turn in talk(text)] for side, text in PAIR.items()}
    assert read(tmp_path, [row]).ranked == [(TALK, "good > bad")]


def test_messages_in_names_an_unknown_role(tmp_path: Path) -> None:
    row = sides({"role": "moderator", "content": "Why?"}, "role", "content", "assistant")
    with pytest.raises(UserError, match=r"'moderator'.*expected .*'user' or 'assistant'") as error:
        read(tmp_path, [row])
    assert "tool" not in str(error.value)


def test_messages_in_says_where_the_text_of_a_message_belongs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'said'.*; write its text under 'content'"):
        read(tmp_path, [sides({"role": "user", "said": "Why?"}, "role", "content", "assistant")])


@pytest.mark.parametrize("kind", [pyarrow.list_, pyarrow.large_list, lambda kind: pyarrow.list_(kind, 2)])
def test_messages_in_reads_every_kind_of_arrow_list(tmp_path: Path, kind: Any) -> None:
    columns = {"query": pyarrow.array(["Why?"]), "scores": pyarrow.array([[1, 0]], kind(pyarrow.int8()))}
    columns["responses"] = pyarrow.array([["good", "bad"]], kind(pyarrow.large_string()))
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").ranked == [(WHY, "good > bad")]


def test_messages_in_joins_prompt_and_conversation_once(tmp_path: Path) -> None:
    for taken in range(4):
        row = {side: talk(answer)[taken:] for side, answer in PAIR.items()} | {"prompt": talk("x")[:-1]}
        assert read(tmp_path / "x.jsonl", [row]).ranked == [(TALK, "good > bad")]


BAD_TALKS = [
    ([message("user", "a"), message("user", "b"), message("assistant", "c")], "message 2: found role 'user'"),
    ([message("assistant", "a"), message("user", "b")], "message 1: found role 'assistant'"),
    ([message("user", "a")], "found 1 messages that do not end with an answer"),
    ([message("tool", "a")], "message 1: found the role of a tool in 'chosen'"),
    ([message("critic", "a")], r"message 1: found \{'role': 'critic', 'content': 'a'\}"),
    ([{"role": "user", "content": [{"type": "text"}]}], r"message 1: found \{'role': 'user', 'content': \["),
    ([{"role": ["user"], "content": "a"}], "message 1: found"),
    (["a"], "message 1: found str 'a' in 'chosen'"),
    ([message("user", f"a{WHY}"), message("assistant", "b")], "a content that holds a turn mark"),
    ([message("user", "a\0"), message("assistant", "b")], "a NUL character"),
]


@pytest.mark.parametrize(("talk", "expected"), BAD_TALKS)
def test_messages_in_names_a_conversation_out_of_order(tmp_path: Path, talk: list, expected: str) -> None:
    good = [message("user", "a"), message("assistant", "b")]
    rows = [{"chosen": good, "rejected": good}, {"chosen": talk, "rejected": good}]
    with pytest.raises(UserError, match=expected):
        read(tmp_path, rows)
