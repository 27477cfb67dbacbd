"""apo/datasets/containers.py: lists, records and messages that are written as texts."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, WHY, message, read


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
    "a record with messages": {
        "input": json.dumps({"tools": [], "messages": [message("user", "Why?")]}),
        "preferred_output": json.dumps([message("assistant", "good")]),
        "non_preferred_output": json.dumps([message("assistant", "bad")]),
    },
    "a record with a text": {
        "question": json.dumps({"dataset": "x", "id": "1", "full_text": "Why?"}),
        **PAIR,
    },
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


@pytest.mark.parametrize(
    "record", [{"messages": [message("user", "Why?")]}, {"id": "1", "full_text": "Why?", "system": None}]
)
def test_decode_containers_refuses_a_record_with_a_prompt_that_python_wrote(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    row = {"question": str(record), **PAIR}
    with pytest.raises(UserError, match=r"row 1: found messages written as a text.*data\.on_issue\.not_text"):
        read(table(tmp_path / "x.csv", [row]))


def test_decode_containers_leaves_a_prompt_about_json(tmp_path: Path) -> None:
    for prompt in ('{"a": {"messages": 3}}', '{"messages": "none"}', '{"messages": [1} why?'):
        ((query, _),) = read(tmp_path, [{"prompt": prompt, **PAIR}]).ranked
        assert query == WHY.replace("Why?", prompt)


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
