"""Readers of other people's files: every format and format, every rule, every kind of damage."""

import gzip
import json
import lzma
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.query_ids import QueryIds
from apo.datasets.readers import (
    read_comparisons,
    read_demonstrations,
    read_golden,
    read_samples,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"
real_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real data lies beside the checkout only on some machines"
)

Q = "\n\nHuman: Why?\n\nAssistant:"
OTHER = "\n\nHuman: How?\n\nAssistant:"
WANTED = {
    "query_id": query_id_of(Q),
    "query": Q,
    "responses": ["good", "bad"],
    "scores": [1.0, 0.0],
    "type": "",
}
Reader = Callable[..., Any]


def _write(path: Path, rows: list[dict]) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    listed = json.dumps(rows, indent=1).encode()
    match path.suffixes:
        case [".json"]:
            path.write_bytes(listed)
        case [".json", ".gz"]:
            path.write_bytes(gzip.compress(listed))
        case [".json", ".xz"]:
            path.write_bytes(lzma.compress(listed))
        case [".jsonl", ".gz"]:
            path.write_bytes(gzip.compress(lines))
        case [".jsonl", ".xz"]:
            path.write_bytes(lzma.compress(lines))
        case [".parquet"]:
            from pyarrow import Table, parquet

            columns = list(dict.fromkeys(key for row in rows for key in row))
            parquet.write_table(Table.from_pydict({c: [row.get(c) for row in rows] for c in columns}), path)
        case _:
            path.write_bytes(lines)
    return path


PARAMS = Path(__file__).parents[3] / "params.yaml"
ACTIONS = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings).actions()


def as_committed(**actions: str) -> DataIssues:
    """As committed, but for the ones given."""
    return DataIssues(ROW_ISSUES, {**ACTIONS, **actions})


def _read(
    reader: Reader, path: Path, options: ReadOptions | None = None, **actions: str
) -> tuple[list[dict], dict[str, int], list[dict]]:
    counts: Counter[str] = Counter()
    issues = as_committed(**actions)
    rows = list(reader(path, counts, issues, options))
    return rows, {rule: count for rule, count in counts.items() if count}, issues.examples


def _user(content: str) -> dict:
    return {"role": "user", "content": content}


def _answer(content: str) -> dict:
    return {"role": "assistant", "content": content}


FORMATS = {
    "own": {"query": Q, "responses": ["good", "bad"], "scores": [1.0, 0.0]},
    "joined": {"text": [f"{Q}<sep>good", f"{Q}<sep>bad"], "scores": [1.0, 0.0]},
    "joined score": {"text": [f"{Q}<sep>good", f"{Q}<sep>bad"], "score": [1, 0]},
    "whole": {"text": [f"{Q} good", f"{Q} bad"], "score": [1.0, 0.0]},
    "whole scores": {"text": [f"{Q} good", f"{Q} bad"], "scores": [1.0, 0.0]},
    "prompt": {"id": 7, "prompt": Q, "chosen": "good", "rejected": "bad"},
    "plain prompt": {"prompt": "Why?", "chosen": "good", "rejected": "bad"},
    "prompt and space": {"prompt": Q + " ", "chosen": " good\n", "rejected": " bad"},
    "dialogues": {"chosen": f"{Q} good", "rejected": f"{Q} bad"},
    "messages": {"chosen": [_user("Why?"), _answer("good")], "rejected": [_user("Why?"), _answer("bad")]},
    "prompt messages": {"prompt": [_user("Why?")], "chosen": [_answer("good")], "rejected": [_answer("bad")]},
    "prompt text and messages": {
        "prompt": "Why?",
        "chosen": [_user("Why?"), _answer("good")],
        "rejected": [_user("Why?"), _answer("bad")],
    },
}
FILE_NAMES = ["x.jsonl", "x.json", "x.jsonl.gz", "x.json.gz", "x.jsonl.xz", "x.json.xz", "x.parquet"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_every_format_of_a_comparison_says_the_same(tmp_path: Path, name: str, format: str) -> None:
    rows, counts, issues = _read(read_comparisons, _write(tmp_path / name, [FORMATS[format]] * 3))
    assert rows == [WANTED] * 3
    assert [list(row) for row in rows] == [list(WANTED)] * 3
    assert (counts["rows"], counts["kept"], issues) == (3, 3, [])


@pytest.mark.parametrize("name", FILE_NAMES)
def test_every_file_type_says_the_same(tmp_path: Path, name: str) -> None:
    rows, _, _ = _read(read_comparisons, _write(tmp_path / name, [FORMATS["joined"]] * 2000))
    assert rows == [WANTED] * 2000


def test_lines_under_the_name_json_a_byte_order_mark_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(FORMATS["own"]).encode() + b"\r\n\r\n")
    assert _read(read_comparisons, path)[0] == [WANTED]


def test_lines_are_read_as_a_stream(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", [FORMATS["own"]] * 2)
    path.write_text(path.read_text() + "broken\n")
    rows = read_comparisons(path, Counter(), as_committed())
    assert next(rows) == WANTED
    assert next(rows) == WANTED
    with pytest.raises(UserError, match=r"x\.jsonl:3"):
        next(rows)


def test_scores_ids_and_types_stay_as_they_are(tmp_path: Path) -> None:
    row = {
        "query_id": 7,
        "query": Q,
        "responses": ["a", "b", "c"],
        "scores": [-1, 5e-7, 1e6],
        "type": "harmless",
    }
    rows, _, _ = _read(read_comparisons, _write(tmp_path / "x.jsonl", [row]))
    assert rows == [{**row, "query_id": "7", "scores": [-1.0, 5e-7, 1e6]}]


def test_what_was_adjusted_is_counted(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "x.jsonl", [FORMATS["plain prompt"], FORMATS["prompt and space"], FORMATS["prompt"]]
    )
    _, counts, _ = _read(read_comparisons, path)
    assert counts == {
        "rows": 3,
        "kept": 3,
        "wrapped_queries": 1,
        "trimmed_queries": 1,
        "stripped_responses": 2,
    }


def test_a_plain_query_is_wrapped_once_a_comparison(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", [{"text": ["Why?<sep>good", "Why?<sep>bad"], "scores": [1, 0]}])
    rows, counts, _ = _read(read_comparisons, path)
    assert rows == [WANTED]
    assert counts["wrapped_queries"] == 1


# Rules ---------------------------------------------------------------------------------------------

RULES: dict[str, dict] = {
    "dropped_empty_response": {"query": Q, "responses": ["a", " \n", "c"], "scores": [1, 0, 2]},
    "dropped_identical_responses": {"query": Q, "responses": ["a", " a"], "scores": [1, 0]},
    "dropped_no_preference": {"query": Q, "responses": ["a", "b", "c"], "scores": [0.5, 0.5, 0.5]},
    "dropped_single_response": {"query": Q, "responses": ["a"], "scores": [1.0]},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_dropped_row_is_counted_and_listed(tmp_path: Path, rule: str) -> None:
    path = _write(tmp_path / "x.jsonl", [FORMATS["own"], RULES[rule], FORMATS["own"]])
    rows, counts, issues = _read(read_comparisons, path)
    assert rows == [WANTED] * 2
    assert (counts["rows"], counts["kept"], counts[rule]) == (3, 2, 1)
    assert [(one["code"], one["action"], one["where"]) for one in issues] == [
        (rule.removeprefix("dropped_"), "drop", f"{path}:2")
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"text": [f"{Q}<sep>a", f"{OTHER}<sep>b"], "scores": [1, 0]},
        {"text": [f"{Q} a", f"{OTHER} b"], "score": [1, 0]},
        {"chosen": f"{Q} a", "rejected": f"{OTHER} b"},
        {"chosen": [_user("Why?"), _answer("a")], "rejected": [_user("How?"), _answer("b")]},
    ],
)
def test_a_comparison_of_two_queries_is_dropped(tmp_path: Path, row: dict) -> None:
    rows, counts, issues = _read(read_comparisons, _write(tmp_path / "x.json", [row]))
    assert rows == []
    assert counts["dropped_two_queries"] == 1
    assert issues[0]["where"].endswith("x.json: row 1")


def test_some_equal_responses_stay(tmp_path: Path) -> None:
    row = {"query": Q, "responses": ["a", "a", "b"], "scores": [1, 0.5, 0]}
    rows, counts, _ = _read(read_comparisons, _write(tmp_path / "x.jsonl", [row]))
    assert rows[0]["responses"] == ["a", "a", "b"]
    assert counts == {"rows": 1, "kept": 1, "kept_duplicate_responses": 1}


def test_comparisons_are_not_cut(tmp_path: Path) -> None:
    row = {"query": Q, "responses": ["a\n\nHuman: b", "c"], "scores": [1, 0]}
    rows, counts, _ = _read(read_comparisons, _write(tmp_path / "x.jsonl", [row]))
    assert rows[0]["responses"] == ["a\n\nHuman: b", "c"]
    assert "cut_runaway" not in counts


RUNAWAYS = [
    {"prompt": "Why?", "chosen": "a\n\nHuman: b", "rejected": "c"},
    {"chosen": f"{Q} a\n\nHuman:", "rejected": f"{Q} c"},
    {"text": [f"{Q}<sep>a\nHuman", f"{Q}<sep>c"], "scores": [1, 0]},
    {"query": Q, "responses": ["a\n\nHuman: b\n\nAssistant: d", "c"], "scores": [1, 0]},
]


@pytest.mark.parametrize("row", RUNAWAYS)
def test_a_response_that_goes_on_with_a_human_turn_has_an_action(tmp_path: Path, row: dict) -> None:
    path = _write(tmp_path / "x.jsonl", [row])
    rows, counts, issues = _read(read_comparisons, path)
    assert "Human" in rows[0]["responses"][0] and counts["kept_runaway_response"] == 1
    assert [one["code"] for one in issues] == ["runaway_response"]
    rows, counts, _ = _read(read_comparisons, path, runaway_response="cut")
    assert (rows[0]["responses"], counts["cut_runaway"]) == (["a", "c"], 1)
    assert _read(read_comparisons, path, runaway_response="drop")[0] == []
    with pytest.raises(UserError, match=r"runaway_response to drop or keep or cut"):
        _read(read_comparisons, path, runaway_response="error")


def test_what_a_person_wrote_is_never_cut(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", [{"query": Q, "golden": "a\n\nHuman: b"}])
    assert _read(read_golden, path, runaway_response="cut")[0][0]["golden"] == "a\n\nHuman: b"
    play = "Two mammals:\nHuman\nWhale"
    for row in (
        {"prompt": "Why?", "completion": play},
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": play}]},
        {"prompt": "Why?", "chosen": play, "rejected": "c"},
    ):
        rows, counts, _ = _read(read_demonstrations, _write(tmp_path / "x.jsonl", [row]))
        assert [row["response"] for row in rows] == [play] and "cut_runaway" not in counts
    sampled = _write(tmp_path / "x.jsonl", [{"query": Q, "sample_0": play}])
    rows, counts, _ = _read(read_demonstrations, sampled)
    assert (rows[0]["response"], counts["cut_runaway"]) == ("Two mammals:", 1)


def test_responses_that_are_the_same_once_cut_are_found(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "c\n\nHuman: b", "rejected": "c"}
    _, counts, _ = _read(read_comparisons, _write(tmp_path / "x.jsonl", [row]), runaway_response="cut")
    assert counts["dropped_identical_responses"] == 1


# Other kinds ---------------------------------------------------------------------------------------


def test_golden_answers(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "x.json",
        [{"query_id": 1, "query": "Why?", "golden": " so ", "type": "t"}, {"query": Q, "golden": ""}],
    )
    rows, counts, issues = _read(read_golden, path)
    assert rows == [{"query_id": "1", "query": Q, "golden": "so", "type": "t"}]
    assert counts["dropped_empty_response"] == 1
    assert [(one["code"], one["where"]) for one in issues] == [("empty_response", f"{path}: row 2")]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_samples_stand_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    many = {"query_id": "a", "query": Q, **{f"sample_{n}": f"s{n}" for n in (10, *range(10))}}
    few = {"query_id": "b", "query": OTHER, "sample_0": "t0\n\nHuman: more", "sample_1": " "}
    rows, counts, _ = _read(read_samples, _write(tmp_path / name, [few, many, few]))
    wanted = {"query_id": "b", "query": OTHER, "samples": ["t0", ""], "extra": {}}
    assert rows == [
        wanted,
        {"query_id": "a", "query": Q, "samples": [f"s{n}" for n in range(11)], "extra": {}},
        wanted,
    ]
    assert counts == {
        "rows": 3,
        "kept": 3,
        "cut_runaway": 2,
        "stripped_responses": 2,
        "blank_samples": 2,
        "kept_sample_count": 1,
    }


def test_other_answers_keep_their_names(tmp_path: Path) -> None:
    others = {"hh_best": "h", "gpt4_answer": "g", "ans_3": "a\n\nHuman: x"}
    path = _write(tmp_path / "x.jsonl", [{"query": Q, "sample_0": "s", "score": 3, **others}])
    rows, counts, _ = _read(read_samples, path)
    assert rows[0]["samples"] == ["s"]
    assert rows[0]["extra"] == others  # not cut: others than the LLM wrote them
    assert "cut_runaway" not in counts
    again = _write(tmp_path / "y.jsonl", rows)
    assert _read(read_samples, again)[0] == rows


def test_a_gap_in_the_numbers_is_counted(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", [{"query": Q, "sample_1": "a", "sample_3": "b"}])
    rows, counts, _ = _read(read_samples, path)
    assert rows[0]["samples"] == ["a", "b"]
    assert counts["rows_with_renumbered_samples"] == 1


DEMONSTRATIONS: list[tuple[dict, list[str]]] = [
    ({"prompt": "Why?", "completion": " so"}, ["so"]),
    ({"prompt": [_user("Why?")], "completion": [_answer("so")]}, ["so"]),
    ({"query": Q, "response": "so\n\nHuman: and?"}, ["so\n\nHuman: and?"]),
    ({"messages": [_user("Why?"), _answer("so")]}, ["so"]),
    ({"query": Q, "golden": "so"}, ["so"]),
    ({"query": Q, "sample_0": "so", "sample_1": " ", "sample_2": "thus"}, ["so", "thus"]),
    ({"query": Q, "samples": ["so", "thus"], "extra": {"hh_best": "no"}}, ["so", "thus"]),
    ({"query": Q, "responses": ["a", "so", "thus"], "scores": [0, 2, 2]}, ["so"]),
    ({"prompt": Q, "chosen": "so", "rejected": "no"}, ["so"]),
    ({"query": Q, "responses": ["a", "b"], "scores": [1, 1]}, []),
    ({"query": Q, "prompt": Q, "completion": "so", "samples": ["no", "so"], "scores": [0.1, 0.2]}, ["so"]),
]


@pytest.mark.parametrize(("row", "responses"), DEMONSTRATIONS)
def test_demonstrations_come_from_every_kind(tmp_path: Path, row: dict, responses: list[str]) -> None:
    rows, counts, _ = _read(read_demonstrations, _write(tmp_path / "x.jsonl", [row]))
    assert rows == [{"query_id": query_id_of(Q), "query": Q, "response": response} for response in responses]
    assert counts.get("kept", 0) == len(responses)


# Damage --------------------------------------------------------------------------------------------

GOOD = FORMATS["own"]
JOINED = FORMATS["joined"]
WHOLE_TEXTS = FORMATS["whole"]
DAMAGED_ROWS: list[tuple[Reader, dict, dict, str]] = [
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0]}, "1 values for 2 responses in 'scores'"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, float("nan")]}, "the score nan"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, float("-inf")]}, "the score -inf"),
    (read_comparisons, GOOD, {**GOOD, "scores": [1.0, 10**400]}, "the score 1000"),
    (read_comparisons, GOOD, {**GOOD, "scores": [True, False]}, "the score True"),
    (read_comparisons, GOOD, {**GOOD, "scores": ["1", "0"]}, "the score '1'"),
    (read_comparisons, GOOD, {**GOOD, "scores": None}, "NoneType None in 'scores'"),
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
    (read_comparisons, GOOD, {**GOOD, "query": Q + " So"}, "a query in 'query' that ends in"),
    (read_comparisons, GOOD, {**GOOD, "query_id": ""}, "query_id ''"),
    (read_comparisons, GOOD, {**GOOD, "query_id": None}, "query_id None"),
    (read_comparisons, GOOD, {**GOOD, "query_id": True}, "query_id True"),
    (read_comparisons, GOOD, {**GOOD, "query_id": 1.5}, "query_id 1.5"),
    (read_comparisons, GOOD, {**GOOD, "type": None}, "null in 'type'"),
    (read_comparisons, GOOD, {"query": Q, "responses": ["a", "b"]}, "keys ['query', 'responses']"),
    (read_comparisons, GOOD, JOINED, "keys ['scores', 'text']"),
    (
        read_comparisons,
        FORMATS["dialogues"],
        FORMATS["prompt"],
        "keys ['chosen', 'id', 'prompt', 'rejected']",
    ),
    (read_comparisons, JOINED, {**JOINED, "text": [f"{Q}a", f"{Q}<sep>b"]}, "0 times <sep>"),
    (read_comparisons, JOINED, {**JOINED, "text": [f"{Q}<sep>a<sep>", f"{Q}<sep>b"]}, "2 times <sep>"),
    (read_comparisons, JOINED, {**JOINED, "text": f"{Q}<sep>a"}, "in 'text'"),
    (read_comparisons, JOINED, {"text": JOINED["text"], "score": [1, 0]}, "keys ['score', 'text']"),
    (
        read_comparisons,
        FORMATS["whole"],
        {**FORMATS["whole"], "text": [f"{Q}<sep>a", f"{Q} b"]},
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
        {**FORMATS["prompt"], "chosen": [_answer("a")]},
        "list [{...}] in 'chosen'",
    ),
    (
        read_comparisons,
        FORMATS["messages"],
        {"chosen": [_user("a")], "rejected": [_user("a")]},
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
        {**FORMATS["messages"], "chosen": [_user("\0"), _answer("")]},
        "NUL",
    ),
    (read_golden, {"query": Q, "golden": "a"}, {"query": Q, "golden": None}, "null in 'golden'"),
    (read_golden, {"query": Q, "golden": "a"}, {"query_id": 1, "golden": "a"}, "keys ['golden', 'query_id']"),
    (read_samples, {"query": Q, "sample_0": "a"}, {"query": Q, "sample_0": None}, "null in 'sample_0'"),
    (read_samples, {"query": Q, "sample_0": "a"}, {"query": Q}, "keys ['query']"),
    (
        read_samples,
        {"query": Q, "sample_0": "a"},
        {"query": Q, "sample_0": "a", "hh_best": None},
        "'hh_best'",
    ),
    (read_samples, {"query": Q, "samples": ["a"]}, {"query": Q, "samples": []}, "list [] in 'samples'"),
    (
        read_samples,
        {"query": Q, "samples": ["a"]},
        {"query": Q, "samples": ["a"], "extra": 1},
        "int in 'extra'",
    ),
    (read_demonstrations, {"query": Q, "response": "a"}, {"query": Q, "response": 1}, "int 1 in 'response'"),
]


@pytest.mark.parametrize(("reader", "good", "bad", "found"), DAMAGED_ROWS)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_a_damaged_row_is_named(
    tmp_path: Path, name: str, reader: Reader, good: dict, bad: dict, found: str
) -> None:
    path = _write(tmp_path / name, [good, bad])
    with pytest.raises(UserError) as error:
        _read(reader, path)
    place = f"{path}:2" if name == "x.jsonl" else f"{path}: row 2"
    assert str(error.value).startswith(place)
    assert found in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize(
    ("reader", "row"),
    [
        (read_comparisons, {"a": 1}),
        (read_comparisons, {"query": Q, "golden": "a"}),
        (read_comparisons, {**GOOD, **JOINED}),
        (read_comparisons, {**JOINED, "score": [1, 0]}),
        (read_comparisons, {**GOOD, "chosen": "a", "rejected": "b"}),
        (read_golden, GOOD),
        (read_samples, {"query": Q, "golden": "a"}),
        (read_samples, {"query": Q, "samples": ["a"], "sample_0": "a"}),
        (read_demonstrations, {"query": Q, "golden": "a", "sample_0": "b"}),
        (read_demonstrations, {"query": Q}),
    ],
)
def test_an_unknown_or_ambiguous_format_lists_keys_and_formats(
    tmp_path: Path, reader: Reader, row: dict
) -> None:
    with pytest.raises(UserError) as error:
        _read(reader, _write(tmp_path / "x.jsonl", [row]))
    assert f"x.jsonl:1: found keys {sorted(row)}" in str(error.value)
    assert "expected one of: " in str(error.value)


def test_a_damaged_row_of_parquet_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.parquet", [GOOD, {**GOOD, "scores": [1.0]}])
    with pytest.raises(UserError, match=r"x\.parquet: row 2: found 1 values for 2 responses"):
        _read(read_comparisons, path)
    path = _write(tmp_path / "x.parquet", [GOOD, {**GOOD, "responses": None}])
    with pytest.raises(UserError, match=r"x\.parquet: row 2: found keys \['query', 'scores'\]"):
        _read(read_comparisons, path)


LINE = json.dumps(GOOD).encode() + b"\n"
DAMAGED_FILES: list[tuple[str, bytes, str]] = [
    ("x.jsonl", b"", ": found no rows"),
    ("x.jsonl", b"\n\n", ": found no rows"),
    ("x.json", b"[]", ": found no rows"),
    ("x.json", b"", ": found no rows"),
    ("x.jsonl.gz", b"", ": found no rows"),
    ("x.jsonl.xz", b"", ": found data that breaks off"),
    ("x.jsonl", LINE + b'{"query": "caf\xe9"}\n', ":2: found bytes that are not UTF-8"),
    ("x.jsonl", "\ufeff{}".encode("utf-16"), ": found text in UTF-16"),
    ("x.json", b'[{"query": "caf\xe9"}]', ": found bytes that are not UTF-8"),
    ("x.jsonl", LINE + LINE[:-9], ":2: found a line that is not JSON"),
    ("x.jsonl", LINE + b'{"query": "a\0"}\n', ":2: found a line that is not JSON"),
    ("x.jsonl", LINE + b"3\n", ":2: found JSON of type int"),
    ("x.json", b"[" + LINE + b",", ": found no JSON"),
    ("x.json", b"[" + LINE + b", 3]", ": row 2: found JSON of type int"),
    ("x.json", b"[" * 100_000, ": found no JSON"),
    ("x.jsonl.gz", gzip.compress(LINE * 9, mtime=0)[:-9], ": found data that breaks off"),
    (
        "x.jsonl.gz",
        gzip.compress(LINE, mtime=0)[:10] + b"\x07" * 40,
        ": found data that breaks off or is damaged",
    ),
    ("x.jsonl.gz", LINE, ": found data that breaks off or is damaged after row 0"),
    ("x.jsonl.gz", gzip.compress(LINE, mtime=0)[:-8] + b"01234567", ": found data that breaks off"),
    ("x.jsonl.xz", lzma.compress(LINE * 9)[:-9], ": found data that breaks off"),
    ("x.json.xz", lzma.compress(b"[" + LINE + b"]")[:-9], ": found data that breaks off"),
    ("x.jsonl.xz", LINE, ": found data that breaks off"),
    ("x.parquet", LINE, ": found no readable parquet"),
    ("x.parquet", b"", ": found no readable parquet"),
    ("x.parquet.gz", LINE, ": found a file name that ends in '.gz'"),
    ("x.csv", b'prompt,chosen,rejected\n"Why?,a,b\n', ":2: found a line that is no row of a table"),
    ("x.xlsx", LINE, ": found a file name that ends in '.xlsx'"),
    ("x", LINE, ": found a file name that ends in ''"),
]


@pytest.mark.parametrize(("name", "content", "found"), DAMAGED_FILES, ids=range(len(DAMAGED_FILES)))
def test_a_damaged_file_is_one_error(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        _read(read_comparisons, path)
    assert str(error.value).startswith(f"{path}{found}")


@pytest.mark.parametrize("reader", [read_comparisons, read_golden, read_samples, read_demonstrations])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(UserError, match="found a folder"):
        _read(reader, tmp_path)
    with pytest.raises(UserError, match="found no such file"):
        _read(reader, tmp_path / "x.jsonl")


LEFT_OUT: list[tuple[str, Reader, dict, dict]] = [
    ("other_keys", read_comparisons, GOOD, {"query": Q, "responses": ["a", "b"]}),
    ("not_text", read_comparisons, GOOD, {**GOOD, "query": None}),
    ("nul_character", read_comparisons, GOOD, {**GOOD, "responses": ["a", "b\0"]}),
    ("surrogate", read_comparisons, GOOD, {**GOOD, "responses": ["a", "\ud83d"]}),
    ("bad_score", read_comparisons, GOOD, {**GOOD, "scores": [1, "0"]}),
    ("score_count", read_comparisons, GOOD, {**GOOD, "scores": [1]}),
    ("bad_id", read_comparisons, GOOD, {**GOOD, "query_id": 1.5}),
    ("blank_query", read_comparisons, GOOD, {**GOOD, "query": " "}),
    ("query_form", read_comparisons, GOOD, {**GOOD, "query": Q + " So"}),
    ("separator", read_comparisons, JOINED, {**JOINED, "text": ["a", "b"]}),
    ("no_dialogue", read_comparisons, FORMATS["dialogues"], {"chosen": "a", "rejected": "b"}),
    ("role_order", read_comparisons, FORMATS["messages"], {**FORMATS["messages"], "chosen": [_user("a")]}),
    ("turn_mark", read_comparisons, FORMATS["messages"], {**FORMATS["messages"], "chosen": [_user(Q)]}),
    ("missing_golden", read_golden, {"query": Q, "golden": "a"}, {"query": Q, "golden": None}),
    ("missing_golden", read_golden, {"query": Q, "golden": "a"}, {"query": Q}),
]


@pytest.mark.parametrize(("code", "reader", "good", "bad"), LEFT_OUT)
def test_a_malformed_row_ends_it_or_is_left_out(
    tmp_path: Path, code: str, reader: Reader, good: dict, bad: dict
) -> None:
    path = _write(tmp_path / "x.jsonl", [good, bad, good])
    with pytest.raises(UserError, match=rf"x\.jsonl:2: .*, or set data\.on_issue\.{code} to drop in params"):
        _read(reader, path)
    rows, counts, issues = _read(reader, path, **{code: "drop"})
    assert len(rows) == 2
    assert (counts["rows"], counts["kept"], counts[f"dropped_{code}"]) == (3, 2, 1)
    assert [(one["code"], one["action"]) for one in issues] == [(code, "drop")]
    assert issues[0]["where"].startswith(f"{path}:2")


@pytest.mark.parametrize(("code", "line"), [("not_utf8", b'{"a": "\xff"}\n'), ("not_json", b'{"a\n')])
def test_a_line_that_can_not_be_read_ends_it_or_is_left_out(tmp_path: Path, code: str, line: bytes) -> None:
    path = tmp_path / "x.jsonl"
    for data in (line + LINE * 2, LINE + line + LINE):
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"data.on_issue.{code} to drop"):
            _read(read_comparisons, path)
        rows, counts, _ = _read(read_comparisons, path, **{code: "drop"})
        assert (len(rows), counts["rows"], counts[f"dropped_{code}"]) == (2, 3, 1)
    path.write_bytes(line)
    assert _read(read_comparisons, path, **{code: "drop"})[0] == []


def test_another_number_of_samples_than_in_the_first_row(tmp_path: Path) -> None:
    rows = [{"query": Q, "samples": ["a", "b"]}, {"query": OTHER, "samples": ["a"]}]
    path = _write(tmp_path / "x.jsonl", rows)
    assert _read(read_samples, path)[1]["kept_sample_count"] == 1
    assert len(_read(read_samples, path, sample_count="drop")[0]) == 1
    with pytest.raises(
        UserError, match="found 1 samples, 2 in the first row; expected no row with sample_count"
    ):
        _read(read_samples, path, sample_count="error")


# Ids -----------------------------------------------------------------------------------------------


def test_a_query_has_one_id_whatever_its_file_calls_it() -> None:
    ids = QueryIds()
    assert ids.canonical("a", Q, "x:1") == "a"
    assert ids.canonical("b", "\n\nHuman:  why\n\nAssistant:", "y:1") == "a"
    assert ids.canonical("c", OTHER, "y:2") == "c"
    assert ids.canonical("a", Q, "z:1") == "a"
    assert ids.rewritten == 1


@pytest.mark.parametrize("query_id", ["a", "b"])
def test_an_id_for_two_queries_is_refused(query_id: str) -> None:
    ids = QueryIds()
    ids.canonical("a", Q, "x:1")
    ids.canonical("b", Q, "x:2")
    with pytest.raises(UserError, match=rf"^y:3: found query_id '{query_id}' for the query"):
        ids.canonical(query_id, OTHER, "y:3")


def test_the_readers_are_light() -> None:
    code = (
        "import sys, apo.datasets.readers, apo.splits.splitting, apo.export.write; "
        "print({'torch', 'pyarrow'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "set()\n"


# Real files ----------------------------------------------------------------------------------------

REAL = [
    pytest.param(
        read_comparisons,
        "hh_harmless_train/harmless-base.train.first40000.jsonl.xz",
        {
            "rows": 40_000,
            "kept": 39_952,
            "dropped_empty_response": 48,
            "stripped_responses": 119,
            "kept_replacement_character": 1,
            "kept_turn_order": 145,
            "kept_runaway_response": 22,
        },
        marks=pytest.mark.slow,
    ),
    (
        read_comparisons,
        "hh_test/harmless.test.json.xz",
        {
            "rows": 2_312,
            "kept": 2_303,
            "dropped_empty_response": 4,
            "dropped_two_queries": 5,
            "kept_turn_order": 4,
            "kept_runaway_response": 1,
            "stripped_responses": 4,
        },
    ),
    (
        read_comparisons,
        "hh_test/helpful.test.json.xz",
        {
            "rows": 2_352,
            "kept": 2_339,
            "dropped_empty_response": 4,
            "dropped_two_queries": 9,
            "kept_turn_order": 6,
            "kept_runaway_response": 1,
            "stripped_responses": 4,
        },
    ),
    (
        read_comparisons,
        "apo_native/llm.pairs.json.xz",
        {
            "rows": 3_677,
            "kept": 3_676,
            "dropped_identical_responses": 1,
            "kept_runaway_response": 1,
            "stripped_responses": 309,
            "kept_replacement_character": 1,
        },
    ),
    (read_golden, "apo_native/rm.golden.json.xz", {"rows": 367, "kept": 367}),
    (read_samples, "apo_native/rm.sample.json.xz", {"rows": 367, "kept": 367, "kept_sample_count": 1}),
    (read_demonstrations, "apo_native/rm.sample.json.xz", {"rows": 367, "kept": 4 * 366 + 3}),
]


@real_data
@pytest.mark.parametrize(("reader", "name", "wanted"), REAL)
def test_real_files_give_the_known_counts(reader: Reader, name: str, wanted: dict[str, int]) -> None:
    rows, counts, issues = _read(reader, SHARED / name)
    assert counts == wanted
    assert len(rows) == counts["kept"]
    found = {rule: count for rule, count in counts.items() if rule.startswith(("dropped_", "kept_"))}
    assert len(issues) == sum(min(count, 10) for count in found.values())


@real_data
def test_real_ids_agree_between_the_files_of_one_set() -> None:
    ids = QueryIds()
    for reader, kind in [(read_comparisons, "pairs"), (read_golden, "golden"), (read_samples, "sample")]:
        for row in reader(SHARED / f"apo_native/rm.{kind}.json.xz", Counter(), as_committed()):
            assert ids.canonical(row["query_id"], row["query"], kind) == row["query_id"]
    assert ids.rewritten == 0
