"""apo/datasets/written_texts.py: answers that are written as JSON or as Python code in every row."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_demonstrations, read_golden, read_samples
from apo.datasets.written_texts import written
from tests.apo.datasets.test_containers import table
from tests.helpers.reading import PAIR, WHY, read, read_by, write

LINES = {"chosen": 'good\n"one"', "rejected": "bad"}
JSON: dict[str, dict[str, Any]] = {
    "texts": {side: json.dumps(text) for side, text in LINES.items()},
    "lists of one text": {side: json.dumps([text]) for side, text in LINES.items()},
    "records with a text": {side: json.dumps({"text": text}) for side, text in LINES.items()},
    "records with a content": {side: json.dumps({"content": text}) for side, text in LINES.items()},
}


@pytest.mark.parametrize("name", JSON)
def test_decoded_reads_answers_in_json(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": prompt} | JSON[name] for prompt in ("Why?", '"Why?"')]
    result = read(table(tmp_path / "x.csv", rows))
    assert result.ranked == [(WHY, 'good\n"one" > bad')] * 2
    assert (result.counts["texts_in_json"], result.issues) == (5, {})
    result = read(tmp_path, rows)  # only in a table are lists and records surely not the answer
    assert (result.ranked[0] == (WHY, 'good\n"one" > bad')) == (name == "texts")
    assert result.issues == ({} if name == "texts" else {"json_text": 2})


def test_decoded_reads_other_kinds(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "Why?", "completion": '"so\\nthat"'}])
    assert read_by(read_demonstrations, path)[0][0]["response"] == "so\nthat"
    path = write(tmp_path / "y.jsonl", [{"query": "Why?", "golden": '"so"'}])
    assert read_by(read_golden, path)[0][0]["golden"] == "so"


def test_written_takes_little_time_for_a_long_text() -> None:
    start = time.perf_counter()
    for text in (
        "['" + " " * 500_000 + "x]",
        "['a'" + " " * 500_000 + "']",
        "['" * 200_000 + "]",
        '"' + " " * 500_000,
    ):
        written(text)
    assert time.perf_counter() - start < 5


def test_decoded_reads_paired_columns(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "response_a": '["good"]', "response_b": '["bad"]', "winner": "a"}
    assert read(table(tmp_path / "x.csv", [row])).ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("plain", [PAIR, {"chosen": '["a", "b"]', "rejected": '["c"]'}])
def test_is_json_leaves_a_file_with_other_answers(tmp_path: Path, plain: dict[str, str]) -> None:
    """An answer may be a quotation or a list itself; what looks like code is counted."""
    row = {"prompt": "Quote", "chosen": '"Be yourself."', "rejected": '"a\\nb"'}
    result = read(tmp_path, [row, {"prompt": "Why?", **plain}])
    assert result.records[0]["responses"] == [row["chosen"], row["rejected"]]
    assert result.issues == {"json_text": 1 if plain is PAIR else 2}


PYTHON = ["['{}']", "array(['{}'], dtype=object)", "{{'text': '{}'}}", "['{}'\n 'x']", "('{}',)", "b'{}'"]


@pytest.mark.parametrize("form", PYTHON)
@pytest.mark.parametrize("sides", [("chosen", "rejected"), ("response_a", "response_b")])
def test_is_json_refuses_answers_as_python_code(tmp_path: Path, form: str, sides: tuple[str, str]) -> None:
    row = {"prompt": "['Hi']"} | {side: form.format(side) for side in sides}
    row |= {"winner": "model_a"} if "response_a" in sides else {}
    with pytest.raises(UserError, match=r"texts written as Python code in every row.*to_json"):
        read(table(tmp_path / "x.csv", [row, row]))


def test_is_json_leaves_answers_that_are_lists_of_python(tmp_path: Path) -> None:
    row = {"prompt": "Which vowels?", "chosen": "['a', 'e']", "rejected": "['b', 'c']"}
    result = read(tmp_path, [row])
    assert (result.records[0]["responses"], result.issues) == (["['a', 'e']", "['b', 'c']"], {})


PROMPTS = {"JSON": '"Why?"', "a list": '["Why?"]', "a record": '{"text": "Why?"}'}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize(
    "answers",
    [
        PAIR,
        {"response_a": "good", "response_b": "bad", "winner": "a"},
        {"chosen": "good", "rejected": '["x"]'},
    ],
)
def test_decoded_reads_a_prompt_beside_plain_answers(
    tmp_path: Path, name: str, answers: dict[str, str]
) -> None:
    rows = [{"prompt": PROMPTS[name], **answers}] * 2
    assert [query for query, _ in read(table(tmp_path / "x.csv", rows)).ranked] == [WHY] * 2
    plain = rows[0] | {"prompt": "How?"}
    (query, _), _ = read(table(tmp_path / "y.csv", [rows[0], plain])).ranked
    assert PROMPTS[name] in query


def test_decoded_reads_queries_of_other_kinds(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [{"query": '["Why?"]', "golden": "so"}])
    assert read(path, reader=read_golden).records[0]["query"] == WHY
    path = table(tmp_path / "y.csv", [{"query": '"Why?"', "sample_0": "so", "sample_1": "no"}])
    assert read(path, reader=read_samples).records[0]["query"] == WHY
    with pytest.raises(UserError, match=r"texts written as Python code in every row \(\"\['Why\?'\]\"\)"):
        read(table(tmp_path / "z.csv", [{"prompt": "['Why?']", **PAIR}]))


@pytest.mark.parametrize("answers", [PAIR, {"response_a": "good", "response_b": "bad", "winner": "a"}])
def test_a_prompt_of_several_texts_in_a_cell_is_refused_as_elsewhere(
    tmp_path: Path, answers: dict[str, str]
) -> None:
    turns = ["Hi", "Ho", "Why?"]
    message = "a list of 3 texts in 'prompt'.*write them as messages"
    with pytest.raises(UserError, match=message):
        read(table(tmp_path / "x.csv", [{"prompt": json.dumps(turns), **answers}]))
    with pytest.raises(UserError, match=message):
        read(tmp_path, [{"prompt": turns, **answers}])
    result = read(tmp_path, [{"prompt": json.dumps(turns), **answers}])  # no table: the text itself
    assert "Ho" in result.ranked[0][0]
