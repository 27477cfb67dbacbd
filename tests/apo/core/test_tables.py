"""apo/core/tables.py: a table has its columns even without rows."""

from pathlib import Path

from apo.core.tables import write_csv


def test_write_csv_writes_the_columns_even_without_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"a": 0.1, "b": "x"}, {"a": None, "c": 3}], ["b", "z"])
    assert (tmp_path / "t.csv").read_text() == "b,z,a,c\nx,,0.1,\n,,,3\n"
    write_csv(tmp_path / "none.csv", [], ["a", "b"])
    assert (tmp_path / "none.csv").read_text() == "a,b\n"
