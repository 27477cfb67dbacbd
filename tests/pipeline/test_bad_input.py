"""Damaged input, as a user would bring it: one line that says what to do, and no file left behind."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

import stages.data
from tests.helpers.bad_input import (
    COMPARISONS,
    MAINS,
    NUMBERS,
    Case,
    a_folder,
    again,
    arguments,
    as_a_user,
    both,
    check_message,
    check_process,
    content,
    gone,
    in_process,
    jsonl,
    line,
    no_folder,
    no_rights,
    out_is_a_file,
    pairs,
    parquet_bytes,
    prepare,
    query,
    row,
    setting,
)

P, S, G = "input/pairs.jsonl", "input/samples.jsonl", "input/golden.jsonl"
FIFTH = r"pairs\.jsonl:5: found "

DATA_CASES = [
    Case("data", "missing file", gone(P), r"pairs\.jsonl: found no such file", as_user=True),
    Case("data", "a folder for a file", a_folder(P), r"pairs\.jsonl: found a folder"),
    Case("data", "empty file", content(P, b""), r"pairs\.jsonl: found no rows"),
    Case("data", "blank lines only", content(P, b"\n \n"), r"pairs\.jsonl: found no rows"),
    Case("data", "empty list", pairs("x.json", b"[]"), r"x\.json: found no rows"),
    Case("data", "cut off line", line(P, '{"query": "a'), FIFTH + "a line that is not JSON"),
    Case(
        "data", "cut off list", pairs("x.json", json.dumps(COMPARISONS).encode()[:-9]), r"x\.json: found no J"
    ),
    Case(
        "data",
        "cut off gz",
        pairs("x.jsonl.gz", gzip.compress(jsonl(COMPARISONS))[:-20]),
        r"x\.jsonl\.gz: found data that breaks off",
        as_user=True,
    ),
    Case("data", "no gz", pairs("x.jsonl.gz", jsonl(COMPARISONS)), r"x\.jsonl\.gz: found text in a file"),
    Case("data", "no xz", pairs("x.json.xz", jsonl(COMPARISONS)), r"x\.json\.xz: found text in a file"),
    Case("data", "no parquet", pairs("x.parquet", jsonl(COMPARISONS)), r"x\.parquet: found text in a file"),
    Case(
        "data",
        "cut off parquet",
        lambda folder: pairs("x.parquet", parquet_bytes()[:-30])(folder),
        r"x\.parquet: found no readable parquet",
        as_user=True,
    ),
    Case("data", "empty parquet", pairs("x.parquet", b""), r"x\.parquet: found no readable parquet"),
    Case(
        "data", "another format", pairs("x.txt", b"a,b\n"), r"x\.txt: found a file name that ends in '\.txt'"
    ),
    Case(
        "data",
        "not UTF-8",
        content(P, jsonl(COMPARISONS[:4]) + b'{"q": "\xfc"}\n'),
        FIFTH + "bytes that are not UTF-8",
        as_user=True,
    ),
    Case(
        "data",
        "UTF-16",
        content(P, jsonl(COMPARISONS).decode().encode("utf-16")),
        r"pairs\.jsonl: found text in UTF-16",
    ),
    Case("data", "NUL", row(P, responses=["a\0", "b"]), FIFTH + "a NUL character in 'responses'"),
    Case("data", "lone surrogate", row(P, responses=["\ud800", "b"]), FIFTH + "half of a surrogate pair"),
    Case(
        "data",
        "surrogate in a name",
        content(S, jsonl([{"query": query(0), "samples": ["x"], "extra": {"\ud800": "z"}}])),
        r"samples\.jsonl:1: found half of a surrogate pair",
    ),
    Case("data", "huge nesting", line(P, "[" * 100_000), FIFTH + "a line that is not JSON"),
    Case("data", "nested list", pairs("x.json", b"[" * 100_000), r"x\.json: found no JSON"),
    Case(
        "data", "a number of 5000 digits", line(P, '{"a": ' + "9" * 5000 + "}"), FIFTH + "a line that is not"
    ),
    Case("data", "a line that is no object", line(P, "[1]"), FIFTH + "JSON of type list"),
    Case("data", "a list of texts", pairs("x.json", b'["a"]'), r"x\.json: row 1: found JSON of type str"),
    Case("data", "a number for a text", row(P, responses=["a", 5]), FIFTH + "int 5 in 'responses'"),
    Case("data", "null for a text", row(P, responses=["a", None]), FIFTH + "null in 'responses'"),
    Case("data", "a text for a list", row(P, responses="ab"), FIFTH + "str 'ab' in 'responses'"),
    Case("data", "a number for a query", row(P, query=7), FIFTH + "int 7 in 'query'"),
    Case("data", "a blank query", row(P, query=" \n"), FIFTH + "a blank text in 'query'"),
    Case(
        "data", "an unfinished query", row(P, query=query(0) + " and"), FIFTH + "a query in 'query' that ends"
    ),
    Case("data", "NaN among the scores", row(P, scores=[float("nan"), 0]), FIFTH + "the score nan"),
    Case("data", "infinite score", row(P, scores=[1, float("-inf")]), FIFTH + "the score -inf"),
    Case("data", "a score that no float holds", row(P, scores=[10**400, 0]), FIFTH + "the score 1000"),
    Case("data", "a text for a score", row(P, scores=["one", 0]), FIFTH + "the score 'one'"),
    Case("data", "too few scores", row(P, scores=[1]), FIFTH + "1 values for 2 responses", as_user=True),
    Case(
        "data",
        "no scores",
        row(P, scores=...),
        FIFTH + r"keys .*expected responses \(query, responses, scores\)",
    ),
    Case("data", "another shape in between", row(P, query=..., prompt="a"), FIFTH + "keys"),
    Case("data", "no known shape", content(P, b'{"in": "a", "out": "b"}\n'), r":1: found keys .*no known"),
    Case("data", "a blank id", row(P, query_id=" "), FIFTH + "query_id ' '"),
    Case("data", "a list for an id", row(P, query_id=[1]), FIFTH + r"query_id \[1\]"),
    Case("data", "a list for a type", row(P, type=[3]), FIFTH + r"list \[3\] in 'type'"),
    Case(
        "data",
        "one id for two queries",
        row(P, query_id="i0"),
        "found query_id 'i0' for the query",
        as_user=True,
    ),
    Case("data", "two golden answers", again(G, golden="worse"), "golden answers of query 'i0': found two"),
    Case("data", "golden without query", row(G, query=...), r"golden\.jsonl:5: found keys"),
    Case("data", "null among samples", row(S, sample_1=None), r"samples\.jsonl:5: found null in 'sample_1'"),
    Case(
        "data",
        "pairs under golden",
        setting("data.files.golden", ["pairs.jsonl"]),
        r"pairs\.jsonl:1: found keys",
    ),
    Case(
        "data",
        "plain texts as dialogues",
        pairs("x.jsonl", b'{"chosen": "a", "rejected": "b"}\n'),
        "no dialogue",
    ),
    Case(
        "data",
        "roles out of order",
        pairs("x.jsonl", jsonl([{"chosen": [{"role": "assistant", "content": "a"}], "rejected": []}])),
        "message 1: found role 'assistant'",
    ),
    Case("data", "no folder", no_folder("input"), "input: found no such folder", as_user=True),
    Case(
        "data",
        "a file for the folder",
        both(no_folder("input"), content("input", b"")),
        "input: found a file",
    ),
    Case(
        "data", "files beside the demo", setting("data.source", "demo"), r"input: found 3 files such as 'gold"
    ),
    Case("data", "no name", setting("data.files.comparisons", []), r"data\.files: found no comparisons"),
    Case("data", "an empty name", setting("data.files.comparisons", [""]), "input: found a folder"),
    Case(
        "data", "a name twice", setting("data.files.comparisons", ["pairs.jsonl"] * 2), "'pairs.jsonl' twice"
    ),
    Case("data", "a file outside", setting("data.files.comparisons", ["../golden.jsonl"]), "outside"),
    Case(
        "data",
        "unknown parameter",
        setting("data.files.gold", []),
        r"params\.yaml: data\.files\.gold: found a p",
    ),
    Case(
        "data", "a text for names", setting("data.files.rm", "x"), r"params\.yaml: data\.files\.rm: found 'x'"
    ),
    Case("data", "unknown source", setting("data.source", "csv"), r"params\.yaml: data\.source: found 'csv'"),
    Case("data", "no parameters", gone("params.yaml"), r"params\.yaml: found No such file"),
    Case(
        "data",
        "no YAML",
        content("params.yaml", b"data: [\n"),
        r"params\.yaml: found .*expected YAML",
        as_user=True,
    ),
    Case("data", "a bad seed", setting("seed", -1), r"params\.yaml: seed: found -1"),
    Case("data", "no place to write", out_is_a_file, r"found (File exists|Not a directory)"),
    Case("data", "no right to write", no_rights, "out.*: found Permission denied", skip=os.geteuid() == 0),
]


@pytest.mark.parametrize("stage", MAINS)
def test_whole_input_passes(tmp_path: Path, stage: str) -> None:
    prepare(tmp_path)
    MAINS[stage](**arguments(stage, tmp_path))
    assert (tmp_path / "out_metrics" / "m.json").is_file()
    assert not list(tmp_path.rglob("*.tmp"))


@in_process(DATA_CASES)
def test_damaged_input_ends_in_one_message_and_leaves_nothing(tmp_path: Path, case: Case) -> None:
    check_message(tmp_path, case)


@as_a_user(DATA_CASES)
def test_damaged_input_ends_in_one_line_and_exit_code_1(tmp_path: Path, case: Case) -> None:
    check_process(tmp_path, case)


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    contents = []
    for change in (lambda data: data, lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")):
        prepare(tmp_path)
        path = tmp_path / P
        path.write_bytes(change(path.read_bytes()))
        stages.data.main(**arguments("data", tmp_path))
        contents.append((tmp_path / "out" / "comparisons.jsonl").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"text": [f"{query(4)}<sep>a", f"{query(5)}<sep>b"]}, "two_queries"),
        ({"text": [f"{query(4)}<sep>a", f"{query(4)}<sep>a "]}, "identical_responses"),
        ({"scores": [1, 1]}, "no_preference"),
    ],
)
def test_comparison_without_a_preference_is_dropped_and_counted(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    prepare(tmp_path)
    rows = [{"text": [f"{query(n)}<sep>a", f"{query(n)}<sep>b"], "scores": [1, 0]} for n in NUMBERS]
    (tmp_path / P).write_bytes(jsonl(rows))
    row(P, **changes)(tmp_path)
    stages.data.main(**arguments("data", tmp_path))
    metrics = json.loads((tmp_path / "out_metrics" / "m.json").read_text())["data"]
    assert metrics["rows"]["comparisons"] == 29
    assert metrics["files"]["comparisons/pairs.jsonl"][f"dropped_{rule}"] == metrics["dropped"] == 1
    assert metrics["issues"][rule] == 1
