"""Damaged records between the stages: one line that says what to do, and no file left behind."""

from pathlib import Path

from tests.helpers.bad_input import (
    Case,
    a_folder,
    again,
    as_a_user,
    check_message,
    check_process,
    content,
    gone,
    in_process,
    line,
    no_folder,
    row,
    setting,
)

CASES = [
    Case("split", "no raw data", no_folder("raw"), r"raw/\w+\.jsonl: found no such file", as_user=True),
    Case("split", "a folder", a_folder("raw/golden.jsonl"), r"raw/golden\.jsonl: found a folder"),
    Case(
        "split",
        "cut off",
        line("raw/comparisons.jsonl", '{"a'),
        r"comparisons\.jsonl:5: found a line that is n",
    ),
    Case(
        "split",
        "not UTF-8",
        content("raw/documents.jsonl", b'{"text": "\xff"}\n'),
        r"documents\.jsonl:1: found b",
    ),
    Case(
        "split",
        "a number",
        row("raw/comparisons.jsonl", query=5),
        r"comparisons\.jsonl:5: found 5 under 'query'",
    ),
    Case(
        "split",
        "no part",
        row("raw/comparisons.jsonl", split=...),
        r"comparisons\.jsonl:5: found no key 'split'",
    ),
    Case(
        "split", "unknown part", row("raw/comparisons.jsonl", split="dev"), "comparison 5: found split 'dev'"
    ),
    Case(
        "split",
        "no golden answer",
        content("raw/golden.jsonl", b""),
        r"of the RM part: found no golden answer.*data\.golden: chosen",
    ),
    Case(
        "split",
        "no document text",
        content("raw/documents.jsonl", b"{}\n"),
        r"documents\.jsonl:1: found no key",
    ),
    Case("split", "impossible value", setting("split.rm_fraction", 1.5), r"split\.rm_fraction: found 1\.5"),
    Case("split", "an empty part", setting("split.test_fraction", 0.0), "part test: found no comparisons"),
    Case("convert", "no samples", gone("samples.jsonl"), r"samples\.jsonl: found no such file"),
    Case(
        "convert", "no id", row("samples.jsonl", query_id=...), r"samples\.jsonl:5: found no key 'query_id'"
    ),
    Case(
        "convert",
        "no samples in a row",
        row("samples.jsonl", samples=...),
        r"samples\.jsonl:5: found samples N",
    ),
    Case(
        "convert",
        "null for a sample",
        row("samples.jsonl", samples=["x", None]),
        r"samples\.jsonl:5: found sa",
    ),
    Case(
        "convert",
        "too many samples",
        row("samples.jsonl", samples=["x"] * 3),
        r"samples\.jsonl:5: found 3 sam",
    ),
    Case(
        "convert",
        "too few samples",
        row("samples.jsonl", samples=["x"]),
        r":5: found 1 samples",
        as_user=True,
    ),
    Case(
        "convert", "lone surrogate", row("samples.jsonl", samples=["x", "\udc00"]), "half of a surrogate pair"
    ),
    Case(
        "convert",
        "a query twice",
        again("samples.jsonl"),
        r"samples\.jsonl:31: found the repeated query_id 'i0'",
    ),
    Case(
        "convert",
        "a golden answer twice",
        again("golden.jsonl"),
        r"golden\.jsonl:31: found the repeated query_id 'i0'",
    ),
    Case(
        "convert",
        "a number as golden",
        row("golden.jsonl", golden=4),
        r"golden\.jsonl:5: found no golden answer",
    ),
    Case(
        "convert",
        "no golden",
        row("golden.jsonl", query_id="z"),
        r"samples\.jsonl:5: found query 'i4' without",
    ),
    Case("convert", "bad count", setting("apo.num_samples", 0), r"params\.yaml: apo\.num_samples: found 0"),
    Case("rjs", "no scores", gone("scores.jsonl"), r"scores\.jsonl: found no such file"),
    Case(
        "rjs", "a sample without score", row("scores.jsonl", scores=[1.0]), r"scores\.jsonl:5: found 1 scores"
    ),
    Case("rjs", "a query without scores", row("scores.jsonl", query_id="z"), r"query 'i4' without rewards"),
    Case(
        "rjs",
        "unknown query",
        again("scores.jsonl", query_id="z"),
        r"scores\.jsonl:31: found rewards of 1 quer",
    ),
    Case(
        "rjs",
        "NaN",
        row("scores.jsonl", scores=[float("nan"), 1]),
        r"scores\.jsonl:5: found nan",
        as_user=True,
    ),
    Case("rjs", "too large", row("scores.jsonl", scores=[10**400, 1]), r"scores\.jsonl:5: found 1000"),
    Case(
        "rjs", "a text", row("scores.jsonl", scores=["1", 1]), r"scores\.jsonl:5: found '1' among the scores"
    ),
    Case("rjs", "null", row("scores.jsonl", scores=None), r"scores\.jsonl:5: found 'scores' None"),
    Case(
        "rjs", "a query twice", again("scores.jsonl"), r"scores\.jsonl:31: found the repeated query_id 'i0'"
    ),
    Case("rjs", "a list as extra", row("samples.jsonl", extra=["a"]), r"samples\.jsonl:5: found 'samples'"),
    Case("rjs", "lone surrogate", row("samples.jsonl", samples=["\ud83d", "y"]), "half of a surrogate pair"),
    Case(
        "rjs",
        "unknown parameter",
        setting("rjs.candidate", 1),
        r"params\.yaml: rjs\.candidate: found a param",
    ),
]


@in_process(CASES)
def test_damaged_records_end_in_one_message_and_leave_nothing(tmp_path: Path, case: Case) -> None:
    check_message(tmp_path, case)


@as_a_user(CASES)
def test_damaged_records_end_in_one_line_and_exit_code_1(tmp_path: Path, case: Case) -> None:
    check_process(tmp_path, case)
