"""apo/datasets/fields.py: a damaged value is an error that names the file, the row, the key and the value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from tests.helpers.reading import FORMATS, GOOD, JOINED, PAIR, WHY, answer, read, read_by, user, write

Reader = Callable[..., Any]

DAMAGED_ROWS: list[tuple[Reader, dict, dict, str]] = [
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0]}, "1 values for 2 responses in 'scores'"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, float("nan")]}, "the score nan"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, float("-inf")]}, "the score -inf"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, 10**400]}, "the score 1000"),
    (read_comparisons, GOOD, {**GOOD, "scores": [True, False]}, "the score True"),
    (read_comparisons, GOOD, {**GOOD, "scores": ["one", "0"]}, "the score 'one'"),
    (read_comparisons, GOOD, {**GOOD, "scores": None}, "null in 'scores'"),
    (read_comparisons, GOOD, {**GOOD, "responses": []}, "list [] in 'responses'"),
    (read_comparisons, GOOD, {**GOOD, "responses": "ab"}, "str 'ab' in 'responses'"),
    (read_comparisons, GOOD, {**GOOD, "responses": ["a", None]}, "null in 'responses'"),
    (read_comparisons, GOOD, {**GOOD, "responses": ["a", 3]}, "int 3 in 'responses'"),
    (read_comparisons, GOOD, {**GOOD, "responses": ["a", "b\0"]}, "a NUL character in 'responses'"),
    (read_comparisons, GOOD, {**GOOD, "responses": ["a", "\ud83d"]}, "half of a surrogate pair"),
    (read_comparisons, GOOD, {**GOOD, "query": "x\udc00"}, "half of a surrogate pair in 'query'"),
    (read_comparisons, GOOD, {**GOOD, "query": " \n"}, "a blank text in 'query'"),
    (read_comparisons, GOOD, {**GOOD, "query": None}, "null in 'query'"),
    (read_comparisons, GOOD, {**GOOD, "query": "\n\nHuman: Why?"}, "a query in 'query' that ends in"),
    (
        read_comparisons,
        GOOD,
        {**GOOD, "query": "Human: Why?\n\nAssistant:"},
        "a query in 'query' that ends in",
    ),
    (read_comparisons, GOOD, {**GOOD, "query": WHY + " So"}, "a query in 'query' that ends in"),
    (read_comparisons, GOOD, {**GOOD, "query_id": ""}, "query_id ''"),
    (read_comparisons, GOOD, {**GOOD, "query_id": None}, "query_id None"),
    (read_comparisons, GOOD, {**GOOD, "query_id": True}, "query_id True"),
    (read_comparisons, GOOD, {**GOOD, "query_id": 1.5}, "query_id 1.5"),
    (read_comparisons, GOOD, {**GOOD, "type": ["a"]}, "list ['a'] in 'type'"),
    (read_comparisons, GOOD, {"query": WHY, "responses": ["a", "b"]}, "keys ['query', 'responses']"),
    (read_comparisons, GOOD, JOINED, "keys ['scores', 'text']"),
    (
        read_comparisons,
        FORMATS["dialogues"],
        FORMATS["prompt"],
        "keys ['chosen', 'id', 'prompt', 'rejected']",
    ),
    (read_comparisons, JOINED, {**JOINED, "text": [f"{WHY}a", f"{WHY}<sep>b"]}, "0 times <sep>"),
    (read_comparisons, JOINED, {**JOINED, "text": [f"{WHY}<sep>a<sep>", f"{WHY}<sep>b"]}, "2 times <sep>"),
    (read_comparisons, JOINED, {**JOINED, "text": f"{WHY}<sep>a"}, "in 'text'"),
    (read_comparisons, JOINED, {"text": JOINED["text"], "score": [1, 0]}, "keys ['score', 'text']"),
    (
        read_comparisons,
        FORMATS["whole"],
        {**FORMATS["whole"], "text": [f"{WHY}<sep>a", f"{WHY} b"]},
        "<sep> in 'text'",
    ),
    (
        read_comparisons,
        FORMATS["whole"],
        {**FORMATS["whole"], "text": ["a", "b"]},
        "text that is no dialogue",
    ),
    (read_comparisons, FORMATS["prompt"], {**FORMATS["prompt"], "rejected": None}, "null in 'rejected'"),
    (
        read_comparisons,
        FORMATS["prompt"],
        {**FORMATS["prompt"], "chosen": [answer("a")]},
        "list [{...}] in 'chosen'",
    ),
    (
        read_comparisons,
        FORMATS["messages"],
        {"chosen": [user("a")], "rejected": [user("a")]},
        "do not end with",
    ),
    (read_comparisons, FORMATS["messages"], {**FORMATS["messages"], "chosen": "a"}, "str 'a' in 'chosen'"),
    (
        read_comparisons,
        FORMATS["prompt messages"],
        {**FORMATS["prompt messages"], "prompt": 3},
        "int 3 in 'prompt'",
    ),
    (
        read_comparisons,
        FORMATS["messages"],
        {**FORMATS["messages"], "chosen": [user("\0"), answer("")]},
        "NUL",
    ),
    (read_golden, {"query": WHY, "golden": "a"}, {"query": WHY, "golden": None}, "null in 'golden'"),
    (
        read_golden,
        {"query": WHY, "golden": "a"},
        {"query_id": 1, "golden": "a"},
        "keys ['golden', 'query_id']",
    ),
    (read_samples, {"query": WHY, "sample_0": "a"}, {"query": WHY, "sample_0": None}, "null in 'sample_0'"),
    (read_samples, {"query": WHY, "sample_0": "a"}, {"query": WHY}, "keys ['query']"),
    (
        read_samples,
        {"query": WHY, "sample_0": "a"},
        {"query": WHY, "sample_0": "a", "hh_best": None},
        "'hh_best'",
    ),
    (read_samples, {"query": WHY, "samples": ["a"]}, {"query": WHY, "samples": []}, "list [] in 'samples'"),
    (
        read_samples,
        {"query": WHY, "samples": ["a"]},
        {"query": WHY, "samples": ["a"], "extra": 1},
        "int in 'extra'",
    ),
    (
        read_demonstrations,
        {"query": WHY, "response": "a"},
        {"query": WHY, "response": 1},
        "int 1 in 'response'",
    ),
]


@pytest.mark.parametrize(("reader", "good", "bad", "message"), DAMAGED_ROWS)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_fields_name_file_row_key_and_value_of_a_damaged_row(
    tmp_path: Path, name: str, reader: Reader, good: dict, bad: dict, message: str
) -> None:
    path = write(tmp_path / name, [good, bad])
    with pytest.raises(UserError) as error:
        read_by(reader, path)
    place = f"{path}:2" if name == "x.jsonl" else f"{path}: row 2"
    assert str(error.value).startswith(place)
    assert message in str(error.value)
    assert "expected" in str(error.value)


def test_fields_name_a_damaged_row_of_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [GOOD, {**GOOD, "scores": [1.0]}])
    with pytest.raises(UserError, match=r"x\.parquet: row 2: found 1 values for 2 responses"):
        read_by(read_comparisons, path)
    path = write(tmp_path / "x.parquet", [GOOD, {**GOOD, "responses": None}])
    with pytest.raises(UserError, match=r"x\.parquet: row 2: found null in 'responses'"):
        read_by(read_comparisons, path)


LISTS = {"responses": "['good', 'bad']", "scores": "array([1, 0])"}


@pytest.mark.parametrize("column", LISTS)
def test_list_in_names_a_list_that_python_wrote_as_a_text(tmp_path: Path, column: str) -> None:
    with pytest.raises(UserError, match=rf"a list written as a text .* in '{column}'.*as JSON Lines"):
        read(tmp_path, [{**GOOD, column: LISTS[column]}])


def test_earlier_turns_names_a_history_that_python_wrote_as_a_text(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "a", "rejected": "b", "history": "[('Hi', 'Hello')]"}
    with pytest.raises(UserError, match=r"a list written as a text .* in 'history'"):
        read(tmp_path, [row])


def test_text_in_says_what_to_do_about_a_column_that_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [{"prompt": b"Why?", "chosen": "a", "rejected": "b"}])
    with pytest.raises(UserError, match=r"a column that is not read \(binary\).*write the column as texts"):
        read(path)


BLANK: dict[str, Any] = {
    "messages": {side: [user(""), answer(text)] for side, text in PAIR.items()},
    "dialogues": {side: f"\n\nHuman: \n\nAssistant: {text}" for side, text in PAIR.items()},
    "a prompt in the HH form": {"prompt": "\n\nHuman: \n\nAssistant:", **PAIR},
    "a prompt of messages": {"prompt": [{"role": "system", "content": "Be brief."}, user(" \n")], **PAIR},
    "a later turn": {"prompt": "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman:\n\nAssistant:", **PAIR},
    "a joined text": {"text": [f"\n\nHuman:\n\nAssistant:<sep>{text}" for text in "ab"], "scores": [1, 0]},
    "a tree": {
        "prompt": {
            "role": "prompter",
            "text": "",
            "replies": [{"role": "assistant", "text": text, "rank": ord(text)} for text in "ab"],
        }
    },
}


@pytest.mark.parametrize("name", BLANK)
def test_check_queries_names_a_blank_last_turn_in_any_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"x\.jsonl:1: found .*blank.*data\.on_issue\.blank_query to drop"):
        read(tmp_path, [BLANK[name]])
    result = read(tmp_path, [BLANK[name]], actions={"blank_query": "drop"})
    assert (result.records, result.counts["dropped_blank_query"]) == ([], 1)


@pytest.mark.parametrize("reader", [read_golden, read_samples, read_demonstrations])
def test_check_queries_names_a_blank_last_turn_of_any_kind(tmp_path: Path, reader: Any) -> None:
    row = {"query": [user("")]}
    row |= {"golden": "good"} if reader is read_golden else {"samples": ["a", "b"]}
    with pytest.raises(UserError, match=r"a blank last human turn.*blank_query"):
        read(tmp_path, [row], reader)


STRIPPED = [
    "Human: Hi\n\nAssistant: Ho\n\nHuman: Why?\n\nAssistant:",
    "\nHuman: Hi\n\nHuman: Why?\n\nAssistant:",
]


@pytest.mark.parametrize("query", [*STRIPPED, "Assistant: Ho\n\nHuman: Why?\n\nAssistant:"])
def test_whole_dialogue_takes_no_stripped_turn_for_a_system_text(tmp_path: Path, query: str) -> None:
    with pytest.raises(UserError, match=r"begins with a mark.*data\.on_issue\.no_dialogue to drop"):
        read(tmp_path, [{side: f"{query} {text}" for side, text in PAIR.items()}])
    with pytest.raises(UserError, match=r"data\.on_issue\.query_form to drop"):
        read(tmp_path, [{"prompt": query, **PAIR}])
    assert read(tmp_path, [{"prompt": f"On Human: marks.{WHY}", **PAIR}]).issues == {}
