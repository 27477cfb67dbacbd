"""apo/datasets/messages.py: messages in every spelling, and containers that are written as texts."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, WHY, read


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
    "parts that are texts": sides({"role": "user", "content": ["Why?"]}, "role", "content", "assistant"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_a_message_is_read(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, [SPELLINGS[name]]).said == [(WHY, "good > bad")]


NOT_TEXT: list[tuple[dict[str, Any], str]] = [
    ({"role": "tool", "content": "42"}, "the role of a tool"),
    ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "a part of type 'image_url'"),
    ({"role": "assistant", "content": "I look", "tool_calls": [{"name": "search"}]}, "'tool_calls'"),
    ({"from": "observation", "value": "42"}, "the role of a tool"),
    ({"from": "function_call", "value": "{}"}, "the role of a tool"),
]


@pytest.mark.parametrize(("message", "found"), NOT_TEXT)
def test_a_message_that_is_not_text_alone_is_told_as_that(tmp_path: Path, message: dict, found: str) -> None:
    good = SPELLINGS["capital letters"]
    bad = {side: [*good[side][:1], message, *good[side][1:]] for side in PAIR}
    with pytest.raises(UserError, match=rf"message 2: found {found}.*unsupported_message to drop"):
        read(tmp_path, [good, bad])
    assert len(read(tmp_path, [good, bad], actions={"unsupported_message": "drop"}).records) == 1


def test_an_unknown_role_is_told_as_that(tmp_path: Path) -> None:
    row = sides({"role": "moderator", "content": "Why?"}, "role", "content", "assistant")
    with pytest.raises(UserError, match=r"'moderator'.*expected .*'user' or 'assistant'") as error:
        read(tmp_path, [row])
    assert "tool" not in str(error.value)


# Containers in cells -------------------------------------------------------------------------------


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CELLS: dict[str, dict[str, Any]] = {
    "one message": {"prompt": "Why?"}
    | {side: json.dumps(said("assistant", text)) for side, text in PAIR.items()},
    "a list of messages": {"prompt": json.dumps([said("user", "Why?")])}
    | {side: json.dumps([said("assistant", text)]) for side, text in PAIR.items()},
    "graded answers": {"prompt": "Why?"}
    | {"answers": json.dumps([{"text": "bad", "rank": 2}, {"text": "good", "rank": 1}])},
    "responses and scores": {"query": "Why?", "responses": '["bad", "good"]', "scores": "[0, 1.5]"},
    "the authors' texts": {"text": json.dumps(["Why?<sep>good", "Why?<sep>bad"]), "scores": "[1, 0]"},
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_container_in_a_cell_is_read(tmp_path: Path, name: str, ending: str) -> None:
    if ending == "csv":
        assert read(table(tmp_path / "x.csv", [CELLS[name]])).said == [(WHY, "good > bad")]
    else:
        assert read(tmp_path, [CELLS[name]]).said == [(WHY, "good > bad")]


def test_a_response_that_is_json_itself_stays_and_is_counted(tmp_path: Path) -> None:
    answers = {"chosen": '{"role": "engineer", "content": "x"}', "rejected": '["a", "b"]'}
    found = read(tmp_path, [{"prompt": "Give me JSON", **answers}])
    assert found.records[0]["responses"] == list(answers.values())
    assert found.issues == {"json_text": 1}


def as_json(values: list[Any]) -> pyarrow.Array:
    return pyarrow.ExtensionArray.from_storage(
        pyarrow.json_(), pyarrow.array([json.dumps(value) for value in values])
    )


def test_a_column_of_parquet_typed_as_json_holds_what_it_encodes(tmp_path: Path) -> None:
    """As `datasets` 5 writes a column of texts with one boolean among them."""
    texts = ['Red\nor "blue"', "plain", True]
    columns = {"prompt": ["Why?"] * 3, "chosen": as_json(texts), "rejected": as_json(["x", "y", "z"])}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"row 3: found bool True in 'chosen'.*data\.on_issue\.not_text"):
        read(tmp_path / "x.parquet")
    found = read(tmp_path / "x.parquet", actions={"not_text": "drop"})
    assert [row["responses"] for row in found.records] == [['Red\nor "blue"', "x"], ["plain", "y"]]


def test_json_inside_lists_and_records_of_parquet_is_decoded(tmp_path: Path) -> None:
    contents = as_json(["Why?", [{"type": "text", "text": "good"}], "Why?", "bad"])
    roles = pyarrow.array(["user", "assistant"] * 2)
    messages = pyarrow.StructArray.from_arrays([roles, contents], ["role", "content"])
    sides_ = pyarrow.ListArray.from_arrays([0, 2, 4], messages)
    table_ = pyarrow.table({"chosen": sides_[:1], "rejected": sides_[1:]})
    parquet.write_table(table_, tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").said == [(WHY, "good > bad")]


@pytest.mark.parametrize("kind", [pyarrow.list_, pyarrow.large_list, lambda kind: pyarrow.list_(kind, 2)])
def test_every_kind_of_arrow_list_is_a_list(tmp_path: Path, kind: Any) -> None:
    columns = {"query": pyarrow.array(["Why?"]), "scores": pyarrow.array([[1, 0]], kind(pyarrow.int8()))}
    columns["responses"] = pyarrow.array([["good", "bad"]], kind(pyarrow.large_string()))
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").said == [(WHY, "good > bad")]
