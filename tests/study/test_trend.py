"""study/trend.py on made-up rows."""

import math

import pytest

from study.paired import APO, of_arm
from study.settings import axis_name, read_settings
from study.trend import (
    axis_slope,
    axis_table,
    by_coefficient,
    coefficient_steps,
    slopes,
    trend_table,
)
from tests.study.made_up import made_up

RISING = {"coeff 0.02": 0.01, "rjs": 0.02, "coeff 0.5": 0.04, "coeff 2": 0.08}


def test_slopes_are_per_factor_of_ten() -> None:
    rows = made_up(seeds=2, **{"coeff 0.02": math.log10(0.02), "rjs": math.log10(0.1)})
    games = {c: one for c, one in by_coefficient(rows).items() if c < 0.3}
    fitted = slopes(games, of_arm("chosen", "r1", APO))
    assert fitted == pytest.approx({1: 1.1, 2: 1.2})  # the lift is log10(coeff) x (1 + 0.1 x seed)


def test_slopes_leave_out_a_seed_of_two_codes() -> None:
    rows = [
        {**row, "code": "b"} if (row["name"], row["seed"]) == ("coeff 2", 2) else row for row in made_up()
    ]
    assert list(slopes(by_coefficient(rows), of_arm("chosen", "r1", APO))) == [1, 3, 4]


def test_coefficient_steps_go_from_each_value_to_the_next() -> None:
    steps = coefficient_steps(made_up(seeds=8, **RISING))
    assert list(steps) == ["0.02 to 0.1", "0.1 to 0.5", "0.5 to 2", "slope"]
    assert steps["0.5 to 2"] is not None
    assert steps["0.5 to 2"].difference == pytest.approx(0.04 * 1.45)
    assert steps["slope"] is not None
    assert steps["slope"].p == 2 / 2**8


def test_coefficient_steps_of_another_measure() -> None:
    rows = made_up(seeds=8)
    for row in rows:
        if row["name"] == "coeff 2":
            row["pairs"]["r1"] = {**row["pairs"]["r1"], "ece": [0.5, 0.9]}
    assert coefficient_steps(rows)["0.5 to 2"].difference == pytest.approx(0.0)  # type: ignore[union-attr]
    assert coefficient_steps(rows, "ece")["0.5 to 2"].difference > 0.3  # type: ignore[union-attr]


def test_trend_table_counts_the_seeds_above_zero() -> None:
    table = trend_table(made_up(seeds=8, **RISING | {"coeff 2": 0.04}))
    assert table.count("| 8 of 8 |") == 3  # two steps and the slope
    assert table.splitlines()[4].startswith("| 0.5 to 2 | +0.000 (")
    assert trend_table([]) == "Not played by two seeds yet."


def test_axis_table_has_the_slope_of_the_gain_over_the_control() -> None:
    settings = read_settings()
    rows = [
        {**row, "kind": "comparisons", "name": axis_name(settings.comparisons, number, coefficient)}
        for number, lift in ((240, 0.06), (1200, 0.04), (4800, 0.02))
        for coefficient, times in ((0.0, 0), (0.1, 1), (2.0, 3))
        for row in made_up(seeds=8, rjs=lift * times)
        if (row["kind"], row["name"]) == ("method", "rjs")
    ]
    lines = axis_table(rows, settings, "comparisons").splitlines()
    assert lines[2].startswith("| 0 | 240 | +0.000 (")
    assert lines[2].endswith("|  |  |  |")
    assert lines[5].startswith("| 0.1 | 240 | +0.087 (")
    assert lines[8].startswith("| 0.1 | slope |  |  |  | -0.0")
    numbers = ["240", "1,200", "4,800"]
    assert [line.split(" | ")[1] for line in lines[2:]] == [*numbers, *[*numbers, "slope"] * 2]
    assert axis_table([], settings, "model_size") == "Not played by two seeds yet."
    assert axis_slope(rows[:8], "comparisons", settings.comparisons, 0.1) is None
