"""apo/datasets/nulls.py: nulls in parquet files, whose rows have every column."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import GOOD, PAIR, WHY, asked, read, write

ANSWERS = {"prompt": "Why?", "response_a": "good", "response_b": "bad"}


def parquet(folder: Path, *rows: dict[str, Any]) -> Path:
    return write(folder / "x.parquet", list(rows))


@pytest.mark.parametrize("is_first", [True, False])
def test_file_reader_takes_a_null_label_as_no_preference_in_any_row(tmp_path: Path, is_first: bool) -> None:
    rows = [{**ANSWERS, "winner": None}, {**ANSWERS, "winner": "model_a"}]
    result = read(parquet(tmp_path, *rows[:: 1 if is_first else -1]))
    assert (result.ranked, result.issues) == ([(WHY, "good > bad")], {"no_preference": 1})


@pytest.mark.parametrize(("column", "code"), [("prompt", "not_text"), ("chosen", "not_text")])
@pytest.mark.parametrize("is_first", [True, False])
def test_file_reader_names_a_null_text_in_any_row(
    tmp_path: Path, column: str, code: str, is_first: bool
) -> None:
    row = {"prompt": "Why?", **PAIR}
    path = parquet(tmp_path, *[{**row, column: None}, row][:: 1 if is_first else -1])
    with pytest.raises(UserError, match=f"null in '{column}'"):
        read(path)
    assert read(path, actions={code: "drop"}).ranked == [(WHY, "good > bad")]


def test_file_reader_reads_a_mapped_label_that_is_null_in_the_first_row(tmp_path: Path) -> None:
    columns = {"prompt": "q", "response_a": "one", "response_b": "two", "winner": "best"}
    rows = [{"q": "Why?", "one": "good", "two": "bad", "best": best} for best in (None, "A")]
    result = read(parquet(tmp_path, *rows), columns=columns)
    assert (result.ranked, result.issues) == ([(WHY, "good > bad")], {"no_preference": 1})


def test_file_reader_leaves_out_nulls_that_no_format_needs(tmp_path: Path) -> None:
    row = {**GOOD, "type": None, "query_id": None, "system": None}
    result = read(parquet(tmp_path, row, {**GOOD, "type": "help", "query_id": 3}))
    assert (len(result.records), result.issues) == (2, {})
    talks = {"prompt": None, "chosen": asked("good"), "rejected": asked("bad")}
    assert read(parquet(tmp_path, talks)).ranked == [(WHY, "good > bad")]
    two = {"prompt": "Why?", "question": None, **PAIR}
    assert len(read(parquet(tmp_path, two, {**two, "question": "Why?"})).records) == 2


FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"Frage": "Why?", "response_a": "good", "response_b": "bad", "winner": "a"}, "winner"),
    ({"质问": "x", "问题": "Why?", "Response A": "good", "Response B": "bad", "Winner": "a"}, "Winner"),
]


@pytest.mark.parametrize(("row", "label"), FOREIGN)
def test_needed_nulls_knows_columns_in_other_languages(
    tmp_path: Path, row: dict[str, Any], label: str
) -> None:
    result = read(parquet(tmp_path, {**row, label: None}, row))
    assert (result.ranked, result.issues) == ([(WHY, "good > bad")], {"no_preference": 1})


@pytest.mark.parametrize(
    "row", [{"Prompt": "Why?", **PAIR}, {"prompt": "Why?", "win": "good", "lose": "bad"}]
)
def test_needed_nulls_names_a_null_text_under_another_name(tmp_path: Path, row: dict[str, Any]) -> None:
    path = parquet(tmp_path, {**row, [*row][-2]: None}, row)
    with pytest.raises(UserError, match="null in 'chosen'"):
        read(path)
    assert read(path, actions={"not_text": "drop"}).ranked == [(WHY, "good > bad")]
