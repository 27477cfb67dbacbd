"""study/transfer_report.py: slopes, gains and contrasts of made-up alignments."""

import pytest

from study.transfer import BASE_RM, TRUTH, retrained
from study.transfer_report import (
    contrast_table,
    gain_table,
    llm_value,
    mean_gain,
    rm_seeds,
    transfer_results,
    transfer_slope,
    worlds,
)
from tests.study.made_up import COEFFICIENTS, SMALL, TWO, alignments


def test_transfer_slope_is_that_of_the_llm_per_target() -> None:
    world = worlds(alignments(), 400, "rjs")[3]
    assert mean_gain(world, TWO, llm_value) == pytest.approx(0.3)
    assert mean_gain(world, TWO, llm_value, BASE_RM) == pytest.approx(0.1)
    assert transfer_slope(world, [BASE_RM, TRUTH]) == pytest.approx(0.5)


def test_slopes_of_the_rms_and_of_the_truth_differ_where_the_gain_is_no_line() -> None:
    rows = alignments()
    for row in rows:
        if row["chooser"] == TRUTH:
            row["llm"]["true_reward"] -= 0.3  # half of its gain
    results = transfer_results(rows, COEFFICIENTS)
    found = {name: round(result.difference, 6) for name, result in results.items() if result}
    assert found["400 rjs rm slope"] == 0.5
    assert found["400 rjs truth slope"] == found["400 rjs bend"] == 0.25
    assert 0.25 < found["400 rjs slope"] < 0.5


def test_mean_gain_compares_the_same_alignment_seeds() -> None:
    rows = alignments()
    for row in rows:
        row["llm"]["true_reward"] += row["alignment_seed"]  # a part of both that falls out
    world = worlds(rows, 400, "rjs")[1]
    assert mean_gain(world, retrained(TWO, 101), llm_value) == pytest.approx(0.35)
    assert rm_seeds(world, TWO) == [101, 102]
    assert rm_seeds(world, BASE_RM) == [101]


def test_gain_table_has_the_actor_every_chooser_and_the_slopes() -> None:
    lines = gain_table(alignments(), COEFFICIENTS).splitlines()[2:]
    names = [line.split(" | ")[2] for line in lines]
    assert names[:5] == ["the actor, not aligned", BASE_RM, SMALL, TWO, TRUTH]
    assert [name for name in names if "slope" in name] == names[5:]
    assert "| the actor, not aligned |  | +0.100 " in lines[0]
    assert "| truth | +1.200 | +0.6" in lines[4]
    assert "| slope, all choosers (planned) |  | +0.5" in lines[5]
    assert gain_table([], COEFFICIENTS) == "Not played by two seeds yet."


def test_contrast_table_has_both_measures_and_the_rms_of_the_same_other_seed() -> None:
    lines = contrast_table(alignments(), COEFFICIENTS).splitlines()[2:]
    assert f"| {SMALL} minus {BASE_RM} | +0.100 | +0.050 (" in lines[0]
    assert f"| {TRUTH} minus {TWO} | +0.600 | +0.300 (" in lines[2]
    assert "| -0.300 (" in lines[2]
    assert f"| {TWO} minus {BASE_RM}, both trained again | +0.300 | +0.150 (" in lines[3]  # not seed 102
    assert len(lines) == 4
    assert contrast_table([], COEFFICIENTS) == "Not played by two seeds yet."


def test_transfer_results_are_what_the_tables_show() -> None:
    results = transfer_results(alignments(), COEFFICIENTS)
    found = {name: round(result.difference, 6) for name, result in results.items() if result}
    assert found["400 rjs actor"] == 0.1
    assert found["400 rjs apo"] == 0.1
    assert found["400 rjs apo targets"] == 0.2
    assert found["400 rjs ceiling score"] == -0.3
    assert found["400 rjs again"] == 0.15


def test_trainings_of_the_rms_are_averaged_in_each_world() -> None:
    """The difference is 0.1 by the RMs of the game, 0.15 by those of seed 101; 102 has no base RM."""
    rows = alignments()
    more = [
        row | {"targets": 1600, "llm": row["llm"] | {"true_reward": 3 * row["llm"]["true_reward"]}}
        for row in rows
        if row["seed"] > 2
    ]
    results = transfer_results([*more, *rows], COEFFICIENTS)
    found = {name: round(result.difference, 6) for name, result in results.items() if result}
    assert found["400 rjs trainings"] == 0.125
    assert found["1600 rjs trainings"] == 0.375
    assert found["rjs trainings"] == 0.25
    assert found["rjs targets"] == 0.25  # the larger number minus the smaller
    assert results["400 rjs trainings"].seeds == 8  # type: ignore[union-attr]
    assert results["rjs trainings"].seeds == 6  # type: ignore[union-attr]
    once = [row for row in rows if "RM seed" not in row["chooser"]]
    assert "400 rjs trainings" not in transfer_results(once, COEFFICIENTS)


def test_worlds_leave_out_a_seed_that_two_codes_have_played() -> None:
    rows = alignments(seeds=3)
    mixed = [row | {"code": "b"} if (row["seed"], row["chooser"]) == (2, "truth") else row for row in rows]
    assert list(worlds(rows, 400, "rjs")) == [1, 2, 3]
    assert list(worlds(mixed, 400, "rjs")) == [1, 3]
