"""apo/inspection/view.py: a report on a terminal: wrapped, in color there, without control characters."""

import re
from pathlib import Path

import pytest

from apo.core.records import write_rows
from apo.inspection.view import shown
from tests.helpers.inspected import KINDS, as_document, report_of


def test_shown_has_color_on_a_terminal_only(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    document = as_document(report_of(pairs))
    plain, colored = shown(document, is_terminal=False), shown(document, is_terminal=True)
    assert "\x1b[" not in plain and "\x1b[33mdrop" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(document, is_terminal=True) == plain
    monkeypatch.setenv("NO_COLOR", "")  # empty is as if it was not set
    assert shown(document, is_terminal=True) == colored


def test_shown_passes_on_no_control_character(tmp_path: Path) -> None:
    rows = [{"prompt": "a\x1b[31m\r\x07", "completion": "b"}] * 2 + [{"prompt\x1b[2J": "a"}]
    write_rows(tmp_path / "a.jsonl", rows)
    text = shown(as_document(report_of(tmp_path / "a.jsonl")), is_terminal=False)
    assert not {"\x1b", "\r", "\x07"} & set(text)


def test_shown_has_three_records_as_they_are_learned(pairs: Path) -> None:
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


def test_shown_has_records_from_beginning_middle_and_end(tmp_path: Path) -> None:
    rows = [{"prompt": f"Why {n}?", "completion": "x" * 1000} for n in range(101)]
    write_rows(tmp_path / "a.jsonl", rows)
    report = report_of(tmp_path / "a.jsonl")
    assert [record["turns"][0][1] for record in report.records] == ["Why 0?", "Why 50?", "Why 100?"]
    assert "[... 600 characters more]" in " ".join(shown(as_document(report), is_terminal=False).split())


def test_shown_names_the_use_of_every_column(tmp_path: Path) -> None:
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


def test_shown_says_what_to_do_about_an_issue(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "response1": "a", "response2": "b"}
    write_rows(tmp_path / "a.jsonl", [row | {"label": label} for label in (1, "the left one")])
    words = " ".join(shown(as_document(report_of(tmp_path / "a.jsonl")), is_terminal=False).split())
    assert "expected a number of the better one" in words and "write under data.files.labels" in words


@pytest.mark.parametrize("width", [60, 97, 200])
def test_shown_wraps_a_message_and_keeps_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    write_rows(tmp_path / "a.jsonl", [{"query": "a", "nothing": "known"}])
    report = report_of(tmp_path / "a.jsonl")
    text = shown(as_document(report), is_terminal=False)
    whole = report.issues[0].examples[0]["found"]
    assert len(whole) > 500
    assert "".join(whole.split()) in "".join(text.split())
    assert max(map(len, text.splitlines())) <= width
