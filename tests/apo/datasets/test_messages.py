"""apo/datasets/messages.py: messages in every spelling, and containers that are written as texts."""

import csv
import json
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


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


CELLS: dict[str, dict[str, Any]] = {
    "one message": {"prompt": "Why?"}
    | {side: json.dumps(message("assistant", text)) for side, text in PAIR.items()},
    "a list of messages": {"prompt": json.dumps([message("user", "Why?")])}
    | {side: json.dumps([message("assistant", text)]) for side, text in PAIR.items()},
    "graded answers": {"prompt": "Why?"}
    | {"answers": json.dumps([{"text": "bad", "rank": 2}, {"text": "good", "rank": 1}])},
    "responses and scores": {"query": "Why?", "responses": '["bad", "good"]', "scores": "[0, 1.5]"},
    "the authors' texts": {"text": json.dumps(["Why?<sep>good", "Why?<sep>bad"]), "scores": "[1, 0]"},
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_decode_containers_reads_json_in_a_cell(tmp_path: Path, name: str, ending: str) -> None:
    if ending == "csv":
        assert read(table(tmp_path / "x.csv", [CELLS[name]])).ranked == [(WHY, "good > bad")]
    else:
        assert read(tmp_path, [CELLS[name]]).ranked == [(WHY, "good > bad")]


def test_decode_containers_leaves_a_response_that_is_json(tmp_path: Path) -> None:
    answers = {"chosen": '{"role": "engineer", "content": "x"}', "rejected": '["a", "b"]'}
    result = read(tmp_path, [{"prompt": "Give me JSON", **answers}])
    assert result.records[0]["responses"] == list(answers.values())
    assert result.issues == {"json_text": 1}


def test_decode_containers_reads_messages_that_begin_with_an_id(tmp_path: Path) -> None:
    sides_ = {side: json.dumps([{"id": 1, **message("assistant", text)}]) for side, text in PAIR.items()}
    assert read(table(tmp_path / "x.csv", [{"prompt": "Why?", **sides_}])).ranked == [(WHY, "good > bad")]
    users = {"chosen": '[{"id": 1, "role": "user"}]', "rejected": '{"name": "Bo", "role": "user"}'}
    result = read(tmp_path, [{"prompt": "List users", **users}])
    assert (result.records[0]["responses"], result.issues) == (list(users.values()), {"json_text": 1})
    with pytest.raises(UserError, match="messages written as a text"):
        read(tmp_path, [{"prompt": "Why?", **PAIR, "chosen": "[{'id': 1, 'role': 'user', 'content': 'a'}]"}])


def as_json(values: list[Any]) -> pyarrow.Array:
    return pyarrow.ExtensionArray.from_storage(
        pyarrow.json_(), pyarrow.array([json.dumps(value) for value in values])
    )


def test_decode_containers_reads_parquet_columns_typed_as_json(tmp_path: Path) -> None:
    """As `datasets` 5 writes a column of texts with one boolean among them."""
    texts = ['Red\nor "blue"', "plain", True]
    columns = {"prompt": ["Why?"] * 3, "chosen": as_json(texts), "rejected": as_json(["x", "y", "z"])}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"row 3: found bool True in 'chosen'.*data\.on_issue\.not_text"):
        read(tmp_path / "x.parquet")
    result = read(tmp_path / "x.parquet", actions={"not_text": "drop"})
    assert [row["responses"] for row in result.records] == [['Red\nor "blue"', "x"], ["plain", "y"]]


def test_decode_containers_reads_json_inside_lists_and_records(tmp_path: Path) -> None:
    contents = as_json(["Why?", [{"type": "text", "text": "good"}], "Why?", "bad"])
    roles = pyarrow.array(["user", "assistant"] * 2)
    messages = pyarrow.StructArray.from_arrays([roles, contents], ["role", "content"])
    sides_ = pyarrow.ListArray.from_arrays([0, 2, 4], messages)
    table_ = pyarrow.table({"chosen": sides_[:1], "rejected": sides_[1:]})
    parquet.write_table(table_, tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").ranked == [(WHY, "good > bad")]


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
