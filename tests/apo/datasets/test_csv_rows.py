"""apo/datasets/csv_rows.py: tables are read with their numbers and lines, and what is no table is refused."""

import csv
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, WHY, ordered, read

DAMAGED = {
    "a.csv": (b'prompt,chosen,rejected\nWhy?,"good,bad\n', "no row of a table"),
    "b.csv": (b"prompt,chosen,chosen\n1,2,3\n", "the column 'chosen' twice"),
    "c.csv": (b"prompt,chosen,rejected\nWhy?,good\n", "found 2 values"),
    "g.csv": (b"# by me\nprompt,chosen,rejected\n1,2,3\n", r"of the first line \(# by me\)"),
    "d.csv": (b"prompt,chosen,rejected\n\xfc,a,b\n", "not UTF-8"),
    "e.csv": (b"prompt,chosen,rejected\n", "no rows"),
    "f.csv": (b"prompt,,chosen,rejected\n1,2,3,4\n", "a column without a name"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_table_rows_refuses_a_damaged_table(tmp_path: Path, name: str) -> None:
    data, message = DAMAGED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_table_rows_reads_numbers_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,response_0,response_1,better\r\n"Why, ""so""\n?",bad,good,1\r\n')
    assert read(path).ranked == [('\n\nHuman: Why, "so"\n?\n\nAssistant:', "good > bad")]
    (tmp_path / "x.tsv").write_text(
        "prompt\tscore_0\tscore_1\tresponse_0\tresponse_1\nWhy?\t9\t10\tbad\tgood\n"
    )
    assert ordered(read(tmp_path / "x.tsv").records[0]) == "good > bad"
    path.write_text(
        'id,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n1,"[""Why?""]",'
        '"[""bad""]","[""good""]",0,1,0\n'
    )
    assert ordered(read(path).records[0]) == "good > bad"


@pytest.mark.parametrize(("first", "name"), [("", "Unnamed: 0"), (",Unnamed: 0", "Unnamed: 0.1")])
def test_table_rows_reads_the_index_that_pandas_writes(tmp_path: Path, first: str, name: str) -> None:
    lines = [f"{first},prompt,chosen,rejected", f"0{first and ',0'},Why?,good,bad"]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    result = read(tmp_path / "x.csv")
    assert result.ranked == [(WHY, "good > bad")]
    assert result.columns[name] == "not read"


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_table_rows_finds_the_delimiter_beside_a_comma_in_quotes(tmp_path: Path, mark: str) -> None:
    lines = [["prompt", "chosen", "rejected", '"note, or tag"'], ["Why?", "good", "bad", "x"]]
    (tmp_path / "x.csv").write_text("".join(mark.join(line) + "\n" for line in lines))
    assert read(tmp_path / "x.csv").ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("before", ["sep=;\r\n", "\n\n", "SEP=;\n \n"])
def test_table_rows_begins_at_the_first_line_with_names(tmp_path: Path, before: str) -> None:
    (tmp_path / "x.csv").write_text(f"{before}prompt;chosen;rejected\nWhy?;good;bad\n")
    assert read(tmp_path / "x.csv").ranked == [(WHY, "good > bad")]


def test_messages_call_a_cell_a_text(tmp_path: Path) -> None:
    for name, head, row in (
        ("a", "prompt,response_a,response_b,winner", "Why?,a,b,left"),
        ("b", "prompt,history,chosen,rejected", "Why?,x,a,b"),
    ):
        (tmp_path / f"{name}.csv").write_text(f"{head}\n{row}\n")
        with pytest.raises(UserError, match=r"found str '(left|x)' in"):
            read(tmp_path / f"{name}.csv")


SWALLOWED = [
    'Q1\tc1 text\t"r1 text\nQ2\tc2\tr2 text\nQ3\tc3\tr3"\nQ4\tc4\tr4\n',
    'Q1\tc1\t"r1\nQ2\tc2\tr2"\n',
    'Q1\t"c1\tr1\nQ2\t\tr2\nQ3\tc3"\tr3\n',
    '"Q1\tc1\tr1\nQ2"\tc2\tr2\n',
]


@pytest.mark.parametrize("rows", SWALLOWED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_table_rows_names_rows_that_a_quote_swallows(tmp_path: Path, rows: str, end: str) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(f"prompt\tchosen\trejected\n{rows}".replace("\n", end).encode())
    with pytest.raises(UserError, match=r"x\.tsv: row 1: found .* tabs of further rows.*other_keys to drop"):
        read(path)


QUOTED = ["if x:\n\t\treturn 1", "a\tb\nc\td\te", "one\ntwo\nthree", 'say "a"\tb', "a\n\tb\n\tc"]


@pytest.mark.parametrize("text", QUOTED)
@pytest.mark.parametrize("key", ["prompt", "chosen", "rejected"])
def test_table_rows_reads_tabs_and_lines_in_quotes(tmp_path: Path, text: str, key: str) -> None:
    row = {"prompt": "Why?", **PAIR, key: text}
    with (tmp_path / "x.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([row, row.values()])
    [record] = read(tmp_path / "x.tsv").records
    assert text in (record["query"].removeprefix("\n\nHuman: ").split("\n\nA")[0], *record["responses"])
