"""apo/datasets/unsupported_rows.py and rows.py: a file of no format is told as what it is."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_samples
from tests.helpers.reading import PAIR, WHY, read

ROWS = [{"prompt": f"Why {n}?", **PAIR} for n in range(3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(ROWS[0], indent=2), r"one JSON object over several lines; .*`jq -c '\.' FILE"),
        ("\n".join(json.dumps(row, indent=1) for row in ROWS), "one JSON object over several lines"),
        (json.dumps({"data": ROWS}, indent=2), r"a list of objects under 'data'.*`jq -c '\.data\[\]' FILE"),
        (json.dumps({"data": ROWS * 99_999}, indent=2), "one JSON object over several lines, with a list"),
        (json.dumps(ROWS[0], indent=2)[:-20], "one JSON object over several lines"),
    ],
)
@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_explain_unsupported_names_an_object_over_several_lines(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / name)
    assert "cut off" not in str(error.value)


LISTS: list[tuple[dict[str, Any], str]] = [
    ({"data": ROWS}, "one object with all rows under 'data'"),
    ({"train": [{"chosen": f"{WHY} a", "rejected": f"{WHY} b"}]}, "one object with all rows under 'train'"),
    ({"train": ROWS, "test": ROWS}, r"all rows under 'train' and 'test'.*'train' \(and each of the others\)"),
    ({"train": ROWS, "a": 1, "dev": ROWS, "test": ROWS}, "under 'train' and 'dev' and 'test'"),
    (
        {"prompt": "Hi", "pairs": [PAIR]},
        r"a prompt with a list of rows .*`jq -c '\{prompt\} \+ \(\.\[\"pairs\"\]\[\]\)' ",
    ),
    ({"question": "Hi", "rows": ROWS}, "a question with a list of rows under 'rows'"),
    ({"question": "Why?", "candidates": [{"body": "a", "votes": 3}]}, r"a list of objects \(body, votes\)"),
    (
        {"prompt": "Why?", "outputs": [{"generation": "a", "elo": 1}]},
        r"objects \(elo, generation\)",
    ),
    ({"id": 1, "turns": [{"q": "a", "a": "b"}]}, r"a list of objects \(a, q\) under 'turns'"),
]


@pytest.mark.parametrize(("row", "message"), LISTS)
def test_explain_unsupported_does_not_take_a_row_for_a_wrapper(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, [row])


def test_explain_unsupported_gives_advice_that_works(tmp_path: Path) -> None:
    row = {"question": "Why?", "candidates": [{"body": "bad"}, {"body": "good"}], "pick": 1}
    with pytest.raises(UserError, match=r"`response_0: candidates\.0\.FIELD` under data\.files\.columns"):
        read(tmp_path, [row])
    columns = {f"response_{n}": f"candidates.{n}.body" for n in range(2)} | {"better": "pick"}
    assert read(tmp_path, [row], columns=columns | {"prompt": "question"}).ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("key", ["output", "responses", "candidates", "completion"])
def test_explain_unsupported_says_how_an_ordered_list_is_read(tmp_path: Path, key: str) -> None:
    row = {"instruction": "Why?", "input": "", key: ["good", "bad"]}
    with pytest.raises(UserError, match=rf"a list of 2 texts under '{key}'.*`chosen: {key}\.0`"):
        read(tmp_path, [row])
    columns = {"prompt": "instruction", "chosen": f"{key}.0", "rejected": f"{key}.1"}
    assert read(tmp_path, [row], columns=columns).ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("key", ["responses", "outputs", "answers", "completions"])
@pytest.mark.parametrize(
    ("column", "values", "name"),
    [("ranking", [2, 1], "ranks"), ("reward", [0.1, 0.7], "scores"), ("labels", [0, 1], "scores")],
)
def test_explain_unsupported_says_how_a_list_beside_numbers_is_read(
    tmp_path: Path, key: str, column: str, values: list[float], name: str
) -> None:
    row = {"question": "Why?", key: ["bad", "good"], column: values}
    with pytest.raises(UserError, match=rf"map `responses: {key}` with .*`{name}: {column}` where the"):
        read(tmp_path, [row])
    columns = {"responses": key, name: column}
    assert read(tmp_path, [row], columns=columns).ranked == [(WHY, "good > bad")]
    message = rf"as samples, map `query: question`, `samples: {key}`, `{name}: {column}` under"
    with pytest.raises(UserError, match=message):
        read(tmp_path, [row], read_samples)
    columns = {"query": "question", "samples": key, name: column}
    (record,) = read(tmp_path, [row], read_samples, columns=columns).records
    rewards = [-value for value in values] if name == "ranks" else values
    assert (record["samples"], record["source_rewards"]) == (["bad", "good"], rewards)


VERDICTS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"winner": "B"}, {"response_a": "outputs.0", "response_b": "outputs.1", "winner": "winner"}),
    ({"chosen_index": 1}, {"response_0": "outputs.0", "response_1": "outputs.1", "better": "chosen_index"}),
]


@pytest.mark.parametrize(("verdict", "columns"), VERDICTS)
def test_explain_unsupported_says_how_a_list_with_a_verdict_is_read(
    tmp_path: Path, verdict: dict[str, Any], columns: dict[str, str]
) -> None:
    row = {"prompt": "Why?", "outputs": ["bad", "good"], **verdict}
    with pytest.raises(UserError) as error:
        read(tmp_path, [row])
    assert all(f"`{name}: {column}`" in str(error.value) for name, column in columns.items())
    assert read(tmp_path, [row], columns={"prompt": "prompt", **columns}).ranked == [(WHY, "good > bad")]


def test_explain_unsupported_does_not_take_a_conversation_apart(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "so"}]}
    (tmp_path / "x.json").write_text(json.dumps(row, indent=1))
    with pytest.raises(UserError, match=r"jq -c '\.' FILE"):
        read(tmp_path / "x.json")


COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}
WHOLE_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "by id": (
        {f"q{n}": row for n, row in enumerate(ROWS)},
        r"the rows under their ids \('q0'.*jq -c '\.\[\]'",
    ),
    "by number": ({str(n): row for n, row in enumerate(ROWS)}, "the rows under their ids"),
    "pandas": (
        {key: {str(n): text for n, text in enumerate(texts)} for key, texts in COLUMNS.items()},
        "columns of the whole file, each with its values by number.*orient='records'",
    ),
    "pandas split": (
        {"columns": [*ROWS[0]], "index": [0, 1, 2], "data": [[*row.values()] for row in ROWS]},
        "columns of the whole file, with all values under 'data'.*orient='records'",
    ),
    "lists of conversations": (
        {side: [[{"role": "user", "content": "Why?"}]] * 3 for side in PAIR},
        "columns of the whole file, each with a list",
    ),
    "the server of the hub": (
        {"features": [], "rows": [{"row_idx": n, "row": row} for n, row in enumerate(ROWS)]},
        r"""jq -c '\.\["rows"\]\[\] \| del\(\.\["row"\]\) \+ \.\["row"\]' FILE""",
    ),
    "splits in a record": (
        {"data": {"train": ROWS}, "version": 1},
        r"""\+ \.\["data"\] \| \.\["train"\]\[\]'""",
    ),
    "a row in a record": (
        {"row_idx": 0, "row": ROWS[0]},
        r"""jq -c 'del\(\.\["row"\]\) \+ \.\["row"\]' FILE""",
    ),
    "lists": (COLUMNS, "columns of the whole file, each with a list.*orient='records'"),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_explain_columns_names_a_whole_file_in_one_object(tmp_path: Path, name: str, ending: str) -> None:
    value, message = WHOLE_FILES[name]
    (tmp_path / f"x.{ending}").write_text(json.dumps(value))
    with pytest.raises(UserError, match=message):
        read(tmp_path / f"x.{ending}")


def test_explain_columns_leaves_lists_of_answers(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": ["good", "fine"], "rejected": ["bad", "worse"]}
    assert len(read(tmp_path, [row]).records) == 1


def test_explain_unsupported_leaves_a_cut_off_line_as_that(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(ROWS[1])[:-9])
    with pytest.raises(UserError, match=r"x\.jsonl:2: found a line that is not JSON.*cut off"):
        read(tmp_path / "x.jsonl")


@pytest.mark.parametrize(("value", "jq_filter"), [(ROWS[0], "fromjson"), (ROWS, "fromjson[]")])
def test_a_row_in_a_text_is_named_with_what_decodes_it(tmp_path: Path, value: Any, jq_filter: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(json.dumps(value)) + "\n")
    with pytest.raises(UserError, match=rf"JSON in a text .*jq -c '{re.escape(jq_filter)}' FILE"):
        read(tmp_path / "x.jsonl")
