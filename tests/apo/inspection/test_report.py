"""apo/inspection/report.py: the report of a file, by hand, and what it says of one that can't be used."""

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from apo.core.records import write_rows
from apo.datasets.file_reader import ReadOptions
from apo.export.write import export
from apo.inspection.contents import Contents, quantiles
from apo.inspection.report import Report, inspect, main
from apo.inspection.view import shown
from tests.helpers import tiny_models as tiny

ROOT = Path(__file__).parents[3]
PARAMS = ROOT / "params.yaml"
Q = "\n\nHuman: Why not?\n\nAssistant:"
TWO_TURNS = "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: Why, then?\n\nAssistant:"
ROWS: list[dict[str, Any]] = [
    {"query": Q, "responses": ["one two", "one"], "scores": [0.5, -2.0], "type": "helpful"},
    {"query": TWO_TURNS, "responses": ["a b c d", "", "e"], "scores": [1.0, 0.0, 0.5], "type": "harmless"},
    {"query": TWO_TURNS, "responses": ["a b c", "d", "e"], "scores": [1.0, 0.0, 0.0], "type": "harmless"},
    {
        "query": Q.replace("W", "w"),
        "responses": ["one", "two", "</s>"],
        "scores": [3.0, 0.0, 0.0],
        "type": "helpful",
    },
]
KINDS = {
    "comparison": {"prompt": "Why?", "chosen": "a", "rejected": "b"},
    "golden": {"query_id": "1", "query": Q, "golden": "a"},
    "samples": {"query_id": "1", "query": Q, "sample_0": "a", "sample_1": "b"},
    "demonstration": {"prompt": "Why?", "completion": "a"},
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_rows(tmp_path / "pairs.jsonl", ROWS)
    return tmp_path / "pairs.jsonl"


def report_of(path: Path, **options: Any) -> Report:
    return inspect(path, **({"tokens_of": 0, "params": PARAMS} | options))


def codes(report: Report) -> dict[str, tuple[str, int]]:
    return {one.code: (one.action, one.count) for one in report.issues}


def kinds(report: Report) -> list[str]:
    """Those that the file could be."""
    return [one.split(":")[0] for one in report.candidates]


# What is in a file


def test_numbers_by_hand(pairs: Path) -> None:
    report = report_of(pairs)
    assert (report.kind, report.rows, report.kept, report.usable) == ("comparison", 4, 3, True)
    assert kinds(report) == ["comparison"]
    assert codes(report) == {"empty_response": ("drop", 1)}
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


def test_quantiles_by_hand() -> None:
    lengths = Counter({1: 50, 7: 45, 100: 5})
    assert quantiles(lengths) == {"min": 1, "median": 1, "95 %": 7, "max": 100}
    assert quantiles(lengths + Counter({100: 1})) == {"min": 1, "median": 7, "95 %": 100, "max": 100}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_recognized(tmp_path: Path, kind: str) -> None:
    write_rows(tmp_path / "rows.jsonl", [KINDS[kind]])
    report = report_of(tmp_path / "rows.jsonl", tokenizer=tiny.backbone(tmp_path / "backbone"))
    assert (report.kind, report.kept, report.usable, report.tokens["rows_left"]) == (kind, 1, True, 1)
    assert ("scores" in report.contents) == (kind == "comparison")


def test_what_the_pipeline_exports_is_understood(pairs: Path, tmp_path: Path) -> None:
    own = [row | {"query_id": f"q{index}"} for index, row in enumerate(ROWS)]
    write_rows(tmp_path / "own.jsonl", own)
    export(tmp_path / "own.jsonl", tmp_path / "authors.json", to="authors", counts=Counter())
    assert report_of(tmp_path / "authors.json").contents == report_of(pairs).contents


def test_a_drawn_part_is_the_same_each_time_and_in_order() -> None:
    def drawn(limit: int) -> list[str]:
        contents = Contents(rows_kept=limit)
        for number in range(100):
            contents.add({"query": Q, "response": "a"}, where=str(number))
        return [one.where for one in contents.drawn]

    assert drawn(0) == drawn(100) == drawn(500) == [str(number) for number in range(100)]
    part = drawn(10)
    assert len(set(part)) == 10 and part == drawn(10) == sorted(part, key=int)
    assert max(map(int, part)) > 50


def test_every_row_is_drawn_as_often() -> None:
    """10 of 20 by 400 different random numbers: 200 each, give or take five deviations."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        contents = Contents(rows_kept=10)
        contents._random.seed(seed)
        for number in range(20):
            contents.add({"query": Q, "response": "a"}, where=str(number))
        seen.update(one.where for one in contents.drawn)
    assert all(150 <= seen[str(number)] <= 250 for number in range(20))


# Tokens


def test_token_issues_with_their_policies(pairs: Path, tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "backbone")
    report = report_of(pairs, tokenizer=folder)
    assert codes(report) == {"empty_response": ("drop", 1), "special_token_text": ("keep", 1)}
    tokens = report.tokens
    assert (tokens["rows"], tokens["rows_left"], tokens["longer"], tokens["max_length"]) == (3, 3, 0, 192)
    assert sum(row["sequences"] for row in tokens["histogram"]) == 8
    assert report.usable


def test_a_issue_that_is_an_error_is_counted_to_the_end(pairs: Path, tmp_path: Path) -> None:
    """A stage would end at the first; the report goes on and says that the file is not usable."""
    folder = tiny.backbone(tmp_path / "backbone")
    params = tmp_path / "params.yaml"
    text = PARAMS.read_text(encoding="utf-8").replace("special_token_text: keep", "special_token_text: error")
    params.write_text(text, encoding="utf-8")
    write_rows(pairs, [*ROWS, ROWS[3] | {"query": Q + " </s>" + Q}])
    report = report_of(pairs, tokenizer=folder, params=params)
    assert codes(report)["special_token_text"] == ("error", 3)
    assert not report.usable
    assert report.tokens["rows_left"] == 3


def test_a_tokenizer_without_a_model_is_enough(pairs: Path, tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path / "tokenizer")
    assert report_of(pairs, tokenizer=tmp_path / "tokenizer").tokens["rows"] == 3


# What can't be used


def test_a_file_that_could_be_two_things(tmp_path: Path) -> None:
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
def test_a_file_that_does_not_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    report = report_of(tmp_path / name)
    [issue] = report.issues
    assert (issue.action, report.usable) == ("error", False)
    assert message in issue.examples[0]["found"]


def test_a_file_of_which_no_row_is_kept(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "b"}])
    report = report_of(tmp_path / "a.jsonl")
    assert codes(report) == {"identical_responses": ("drop", 1)} and not report.usable
    assert "not usable as it is: no row is kept" in shown(as_document(report), is_terminal=False)


# The command


def as_document(report: Report) -> dict[str, Any]:
    return asdict(report)


def test_color_on_a_terminal_only(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    document = as_document(report_of(pairs))
    plain, colored = shown(document, is_terminal=False), shown(document, is_terminal=True)
    assert "\x1b[" not in plain and "\x1b[33mdrop" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(document, is_terminal=True) == plain
    monkeypatch.setenv("NO_COLOR", "")  # empty is as if it was not set
    assert shown(document, is_terminal=True) == colored


def test_no_control_character_of_the_data_reaches_the_terminal(tmp_path: Path) -> None:
    rows = [{"prompt": "a\x1b[31m\r\x07", "completion": "b"}] * 2 + [{"prompt\x1b[2J": "a"}]
    write_rows(tmp_path / "a.jsonl", rows)
    text = shown(as_document(report_of(tmp_path / "a.jsonl")), is_terminal=False)
    assert not {"\x1b", "\r", "\x07"} & set(text)


def test_json_and_exit_codes(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(pairs), "--json", "--params", str(PARAMS)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == as_document(report_of(pairs, tokens_of=10_000))
    assert main([str(pairs.with_name("missing.jsonl"))]) == 1
    assert "no such file" in capsys.readouterr().out
    assert main([str(pairs), "--tokenizer", str(pairs.parent), "--params", str(PARAMS)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {pairs.parent}: found ")


def test_columns_and_format_are_said_as_params_say_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_columns_of_any_kind_and_labels_are_said_too(tmp_path: Path) -> None:
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


# What a reader looks at ----------------------------------------------------------------------------


def test_three_records_are_shown_as_they_are_learned(pairs: Path) -> None:
    report = report_of(pairs)
    assert [record["turns"] for record in report.records] == [
        [["user", "Why not?"]],
        [["user", "Hi"], ["assistant", "Ho"], ["user", "Why, then?"]],
        [["user", "why not?"]],
    ]
    assert report.records[0]["answers"] == [["best (0.5)", "one two"], ["worst (-2)", "one"]]
    lines = [line.split() for line in shown(as_document(report), is_terminal=False).splitlines()]
    start = lines.index(["3", "records", "as", "they", "are", "learned"])
    assert ["Human", "Hi"] in lines[start:] and ["Assistant", "Ho"] in lines[start:]
    assert ["best", "(0.5)", "one", "two"] in lines[start:] and ["worst", "(-2)", "one"] in lines[start:]


def test_a_long_file_is_shown_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    rows = [{"prompt": f"Why {n}?", "completion": "x" * 1000} for n in range(101)]
    write_rows(tmp_path / "a.jsonl", rows)
    report = report_of(tmp_path / "a.jsonl")
    assert [record["turns"][0][1] for record in report.records] == ["Why 0?", "Why 50?", "Why 100?"]
    assert "[... 600 characters more]" in " ".join(shown(as_document(report), is_terminal=False).split())


def test_every_column_is_shown(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [KINDS["comparison"] | {"source": "s", "system": "Be brief."}])
    report = report_of(tmp_path / "a.jsonl")
    assert report.columns == {
        "prompt": "prompt",
        "chosen": "chosen",
        "rejected": "rejected",
        "source": "not read",
        "system": "system text",
    }
    text = shown(as_document(report), is_terminal=False)
    assert re.search(r"^  source +not read$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [60, 97, 200])
def test_a_message_is_wrapped_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    write_rows(tmp_path / "a.jsonl", [{"query": "a", "nothing": "known"}])
    report = report_of(tmp_path / "a.jsonl")
    text = shown(as_document(report), is_terminal=False)
    whole = report.issues[0].examples[0]["found"]
    assert len(whole) > 500
    assert "".join(whole.split()) in "".join(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_the_make_target(pairs: Path) -> None:
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
