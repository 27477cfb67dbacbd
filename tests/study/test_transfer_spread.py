"""study/transfer_spread.py: the parts of the spread of made-up alignments."""

import pytest

from study.transfer_report import worlds
from study.transfer_spread import alignment_spread, rm_spread, spread_table
from tests.study.made_up import COEFFICIENTS, SMALL, TWO, alignments


def test_spreads_of_the_alignment_and_of_the_rm() -> None:
    by_seed = worlds(alignments(noise=0.3, seeds=40), 400, "rjs")
    assert alignment_spread(by_seed, TWO) == pytest.approx(0.3 * 2**0.5, abs=0.05)
    once = [row for row in alignments() if row["alignment_seed"] == 201]
    assert alignment_spread(worlds(once, 400, "rjs"), TWO) is None
    shared = alignments(noise=0.3)  # an order that moves both LLMs alike moves no difference
    for row in shared:
        row["llm"]["true_reward"] = {201: 0.0, 202: 0.5, 203: 0.1}[row["alignment_seed"]]
    assert alignment_spread(worlds(shared, 400, "rjs"), TWO) == 0.0
    # Without noise, two APO RMs whose targets are 0.2 and 0.3 above those of the base RM of their seed.
    assert rm_spread(worlds(alignments(), 400, "rjs"), TWO) == pytest.approx(0.05 / 2**0.5)
    assert rm_spread(worlds(alignments(), 400, "rjs"), SMALL) is None


def test_spread_table_takes_the_spread_apart() -> None:
    rows = alignments(noise=0.1, seeds=20)
    for row in rows:
        if row["seed"] % 2 and row["chooser"].startswith(TWO):  # worlds of two kinds, 0.6 apart
            row["llm"]["true_reward"] += 0.6
    cells = spread_table(rows, COEFFICIENTS).splitlines()[2].strip("| ").split(" | ")
    alignment, rm, world, played = map(float, cells[2:6])
    assert alignment == pytest.approx(0.1 * 2**0.5, abs=0.02)
    assert world == pytest.approx(0.3, abs=0.05)
    assert played**2 == pytest.approx(alignment**2 / 3 + rm**2 + world**2, abs=0.002)
    assert int(cells[7]) >= 6
    without = [row for row in rows if "RM seed" not in row["chooser"]]
    assert "| not played |" in spread_table(without, COEFFICIENTS)
    assert spread_table([], COEFFICIENTS) == "Not played by two seeds yet."
