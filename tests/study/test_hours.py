"""study/hours.py: sums of the table of docs/scale.md."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from study.__main__ import DOCS
from study.hours import hours_of


def test_hours_of_are_sums_of_the_table_of_scale() -> None:
    words = hours_of("7B")
    line = next(
        line
        for line in (DOCS / "scale.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| 7B | 1,000,000 ")
    )
    cells = [float(cell) / 10 for cell in line.strip("| ").split(" | ")[2:]]
    base, apo, _, sample_rm, _, score, align, every = cells
    first = 10 * (base + sample_rm + 2 * apo)
    assert float(words["7B 1"]) == pytest.approx(first, abs=0.05)
    assert float(words["7B 2"]) == pytest.approx(10 * (every + apo + score + align) - first, abs=0.05)
    assert float(words["7B 3"]) == pytest.approx(1.8 * align, abs=0.05)


def test_hours_of_refuses_a_table_without_the_row(tmp_path: Path) -> None:
    path = tmp_path / "scale.md"
    path.write_text("| model | comparisons |\n", encoding="utf-8")
    with pytest.raises(UserError, match="no hours of 7B"):
        hours_of("7B", path)
