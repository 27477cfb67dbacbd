"""apo/datasets/csv_rows.py: tables are read with their numbers and lines, and what is no table is refused."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import WHY, ordered, read

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
