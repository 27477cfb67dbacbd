"""apo/inspection/report.py: the report of a file, by hand, and what it says of one that can't be used."""

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from apo.core.records import write_rows
from apo.datasets.file_reader import ReadOptions
from apo.export.write import export
from apo.inspection.report import Report, main
from apo.inspection.view import shown
from tests.helpers import tiny_models as tiny
from tests.helpers.inspected import KINDS, PARAMS, ROWS, Q, as_document, codes, report_of

ROOT = Path(__file__).parents[3]


def kinds(report: Report) -> list[str]:
    """Those that the file could be."""
    return [one.split(":")[0] for one in report.candidates]


# What is in a file


def test_inspect_by_hand(pairs: Path) -> None:
    report = report_of(pairs)
    assert (report.kind, report.rows, report.kept, report.usable) == ("comparison", 4, 3, True)
    assert kinds(report) == ["comparison"]
    assert codes(report) == {"empty_response": ("drop", 1), "chat_template": ("keep", 1)}
    assert re.fullmatch(rf"{re.escape(str(pairs))}:( row )?2", report.issues[0].examples[0]["where"])
    assert report.contents == {
        "kinds": {"helpful": 2, "harmless": 1},
        "responses": {"3": 2, "2": 1},
        "turns": {"min": 1, "median": 1, "95 %": 2, "max": 2},
        "words": {
            "query": {"min": 4, "median": 4, "95 %": 8, "max": 8},
            "response": {"min": 1, "median": 1, "95 %": 3, "max": 3},
        },
        "queries": {"distinct": 2, "repeated": 1, "example": Q.replace("W", "w")},
        "scores": {"lowest": -2.0, "highest": 3.0, "rows_with_ties": 2},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_recognizes_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    write_rows(tmp_path / "rows.jsonl", [KINDS[kind]])
    report = report_of(tmp_path / "rows.jsonl", tokenizer=tiny.backbone(tmp_path / "backbone"))
    assert (report.kind, report.kept, report.usable, report.tokens["rows_left"]) == (kind, 1, True, 1)
    assert ("scores" in report.contents) == (kind == "comparison")


def test_inspect_reads_what_export_writes(pairs: Path, tmp_path: Path) -> None:
    rows_with_ids = [row | {"query_id": f"q{index}"} for index, row in enumerate(ROWS)]
    write_rows(tmp_path / "own.jsonl", rows_with_ids)
    export(tmp_path / "own.jsonl", tmp_path / "authors.json", to="authors", counts=Counter())
    assert report_of(tmp_path / "authors.json").contents == report_of(pairs).contents


# What can't be used


def test_inspect_names_both_kinds_of_an_ambiguous_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [KINDS["golden"] | KINDS["samples"]])
    report = report_of(path)
    assert kinds(report) == ["golden", "samples"]
    assert not report.usable and report.kept == 0
    assert "--as golden or --as samples" in report.issues[0].examples[0]["found"]
    assert report_of(path, kind="golden").usable and report_of(path, kind="samples").kind == "samples"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"query": "a"}\n', "of no known format"),
        ("a.jsonl", b"{", "a line that is not JSON"),
        ("a.jsonl", b"", "no rows"),
        ("a.txt", b"a", "a file name that ends in"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"prompt": "a", "completion": "b"}\n' * 99, mtime=0)[:-9],
            "breaks off",
        ),
        ("a.jsonl", b'{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n', "keys ['prompt']"),
    ],
)
def test_inspect_reports_a_file_that_can_not_be_read(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    report = report_of(tmp_path / name)
    [issue] = report.issues
    assert (issue.action, report.usable) == ("error", False)
    assert message in issue.examples[0]["found"]


def test_inspect_reports_a_file_of_which_no_row_is_kept(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "b"}])
    report = report_of(tmp_path / "a.jsonl")
    assert codes(report) == {"identical_responses": ("drop", 1)} and not report.usable
    assert "not usable as it is: no row is kept" in shown(as_document(report), is_terminal=False)


# The command


def test_main_prints_json_and_exits_with_1_for_an_unusable_file(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(pairs), "--json", "--params", str(PARAMS)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == as_document(report_of(pairs, tokens_of=10_000))
    assert main([str(pairs.with_name("missing.jsonl"))]) == 1
    assert "no such file" in " ".join(capsys.readouterr().out.split())
    assert main([str(pairs), "--tokenizer", str(pairs.parent), "--params", str(PARAMS)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {pairs.parent}: found ")


def test_main_takes_columns_and_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of nobody's format: unreadable by itself, three pairs once its columns are named."""
    path = tmp_path / "mine.csv"
    path.write_text("asked,yes,no\n" + "".join(f"Why {n}?,good,bad\n" for n in range(3)))
    common = ["--json", "--params", str(PARAMS)]
    assert main([str(path), *common]) == 1
    capsys.readouterr()
    named = ["--columns", "prompt=asked", "chosen=yes", "rejected=no", "--format", "pairs"]
    assert main([str(path), *common, *named]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["rows"], document["kept"]) == ("comparison", 3, 3)
    for wrong in (["--columns", "prompt"], ["--labels", "1"], ["--as", "golden", "--format", "pairs"]):
        with pytest.raises(SystemExit) as end:
            main([str(path), *wrong])
        assert end.value.code == 2
        assert "usage" in capsys.readouterr().err


def test_inspect_takes_columns_and_labels(tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    write_rows(golden, [{"q": "Why?", "best": "so"}])
    options = ReadOptions({"query": "q", "golden": "best"})
    assert report_of(golden, kind="golden", options=options).usable
    votes = tmp_path / "votes.jsonl"
    row = {"prompt": "Why?", "response1": "a", "response2": "b"}
    write_rows(votes, [row | {"label": label} for label in (1, 0, 2)])
    report = report_of(votes)
    assert (codes(report)["unknown_label"], report.usable) == (("error", 1), False)
    assert "the values in the file are 1 (1), 0 (1), 2 (1)" in report.issues[0].examples[0]["found"]
    report = report_of(votes, options=ReadOptions(labels={"1": "1", "2": "2", "0": "tie"}))
    assert (report.kept, codes(report), report.usable) == (2, {"no_preference": ("drop", 1)}, True)


@pytest.mark.parametrize(
    "labels",
    [
        ["A>B=1", "B>A=2", "A=B=tie", "-1=1", "A is better=1"],
        ["A>B=1 B>A=2 A=B=tie -1=1 'A is better=1'"],
        ["A>B=1", "B>A=2", "A=B=tie", "-1=1", "'A is better=1'"],
    ],
)
def test_main_takes_labels_with_signs_and_blanks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str]
) -> None:
    row = {"prompt": "Why?", "response1": "a", "response2": "b"}
    values = ("A>B", "B>A", "A=B", "-1", "A is better")
    write_rows(tmp_path / "votes.jsonl", [row | {"label": value} for value in values])
    options = [f"--labels={label}" for label in labels] if len(labels) == 1 else ["--labels", *labels[:3]]
    options += [f"--labels={label}" for label in labels[3:]]
    assert main([str(tmp_path / "votes.jsonl"), "--json", "--params", str(PARAMS), *options]) == 0
    answers = [record["answers"][0][1] for record in json.loads(capsys.readouterr().out)["records"]]
    assert answers == ["a", "b", "a"]


def test_make_inspect_passes_labels_on_as_they_are(tmp_path: Path) -> None:
    votes = tmp_path / "my votes.jsonl"
    row = {"prompt": "Why?", "response1": "a", "response2": "b"}
    write_rows(votes, [row | {"label": "A>B"}, row | {"label": "-1"}])
    command = ["make", "-s", "-o", "setup", "inspect", f"DATA={votes}", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run([*command, "LABELS=-1=2 A>B=1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 comparison records kept" in done.stdout and not (ROOT / "B=1").exists()


def test_make_inspect_prints_the_report_and_writes_nothing(pairs: Path) -> None:
    """Through make, as the README says; nothing is written."""
    command = ["make", "-s", "-o", "setup", "inspect", f"DATA={pairs}"]
    before = sorted(pairs.parent.iterdir())
    done = subprocess.run(
        [*command, f"BIN={Path(sys.executable).parent}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 comparison records kept" in done.stdout and "\x1b[" not in done.stdout
    assert sorted(pairs.parent.iterdir()) == before


def test_a_report_that_is_cut_by_head_leaves_no_traceback(pairs: Path) -> None:
    command = f"{sys.executable} -m apo.inspection {pairs} --params {PARAMS} | true"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert result.stderr == ""
