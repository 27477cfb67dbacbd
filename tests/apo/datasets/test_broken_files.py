"""apo/datasets/broken_files.py: a message says what a broken file is, and what to do."""

import json
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, read

ROW = {"prompt": "Why?", **PAIR}
LINE = json.dumps(ROW)
BROKEN = {
    "comma.json": (
        f"[{LINE},\n{LINE},\n]\n",
        "after row 2: a comma behind the last element.*remove the comma",
    ),
    "lists.json": (f"[{LINE}]\n[{LINE}]\n", r"after row 1: several lists.*`jq -c '\.\[\]' FILE"),
    "no_comma.json": (f"[{LINE}\n{LINE}]", "after row 1: no comma between two objects"),
    "python.json": (f"[{ROW}, {ROW}]", r"after row 0: a dict as Python.*json\.dumps"),
    "cut.json": (f"[{LINE},\n{LINE[:-9]}", "no JSON .* after row 1"),
    "lines.jsonl": (f"{LINE},\n{LINE},\n", "a comma behind an object.*sed"),
    "two.jsonl": (f"{LINE}{LINE}\n", "several objects on one line.*jq -c"),
    "python.jsonl": (f"{ROW}\n", r"a dict as Python writes it.*json\.dumps"),
    "table.jsonl": ("prompt,chosen,rejected\nWhy?,a,b\n", r"the first line of a table.*ending \.csv"),
    "tabs.jsonl": ("prompt\tchosen\trejected\nWhy?\ta\tb\n", r"the first line of a table.*\.tsv"),
    "lines.csv": (f"{LINE}\n{LINE}\n", r"JSON in a file named as a table.*\.jsonl"),
    "list.tsv": (f"[{LINE}]", "JSON in a file named as a table"),
    "text.jsonl.gz": (f"{LINE}\n", r"text in a file named \.gz.*ending of what it holds"),
    "lines.parquet": (f"{LINE}\n", r"text in a file named \.parquet.*such as \.jsonl"),
    "table.csv.xz": ("prompt,chosen,rejected\nWhy?,a,b\n", r"text in a file named \.xz"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_message_says_what_a_broken_file_is(tmp_path: Path, name: str) -> None:
    text, message = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / name)
    assert ("download" in str(error.value)) == (name == "cut.json")


def test_line_problem_speaks_of_a_cut_only_where_a_line_ends_early(tmp_path: Path) -> None:
    for line, is_cut in ((LINE[:-9], True), (LINE[:9], True), (LINE[:-1] + ", x}", False), ("oops", False)):
        (tmp_path / "x.jsonl").write_text(f"{LINE}\n{line}\n")
        with pytest.raises(UserError, match=r"x\.jsonl:2: found a line that is not JSON") as error:
            read(tmp_path / "x.jsonl")
        assert ("cut off" in str(error.value)) == is_cut


def test_check_no_json_leaves_a_table_whose_first_column_looks_like_an_object(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("{id},prompt,chosen,rejected\n1,Why?,good,bad\n")
    assert len(read(tmp_path / "x.csv").records) == 1
