"""study/paired.py: rows are paired by seed."""

from typing import Any

import pytest

from study.paired import (
    APO,
    BASE,
    apo_minus_base,
    difference,
    gain,
    gains_over,
    games_of,
    mean_over,
    of_arm,
    read_gain,
    same_samples,
    shared_seeds,
)
from tests.study.made_up import made_up


def test_apo_minus_base_pairs_by_seed_and_leaves_out_what_is_missing() -> None:
    rows = made_up()
    rows.reverse()
    games = games_of(rows, "method", "rjs")
    result = apo_minus_base(games, "accuracy")
    assert result is not None
    assert result.seeds == 4
    assert result.difference == pytest.approx(0.01 * (1 + 0.1 * 2.5))
    assert result.second == pytest.approx(0.5)
    del games[2], games[3]["pairs"]["r1"]["tau"]
    fewer = apo_minus_base(games, "tau")
    assert fewer is not None
    assert fewer.seeds == 2  # 1 and 4
    assert apo_minus_base({1: games[1]}, "tau") is None


def test_difference_of_a_setting_and_the_baseline() -> None:
    rows = made_up(WGAN=0.05)
    ece = of_arm("ece", "r1", APO)
    result = difference(games_of(rows, "sweep", "WGAN"), ece, games_of(rows, "method", "rjs"), ece)
    assert result is not None
    assert result.difference == pytest.approx(0.04 * 1.25)
    assert of_arm("ece", "r1", BASE)(rows[0]) == 0.5


def test_mean_over_counts_a_seed_once() -> None:
    rows = made_up(rjs=0.01, dpo=0.03)
    cells = [(games_of(rows, "method", name), gain("chosen", "r1")) for name in ("rjs", "dpo")]
    del cells[1][0][2]
    assert mean_over(cells) == pytest.approx({seed: 0.02 * (1 + 0.1 * seed) for seed in (1, 3, 4)})
    assert mean_over([]) == {}


def test_same_samples_compares_with_the_baseline_of_the_seed() -> None:
    rows = made_up()
    other = {**rows[5], "start": {**rows[5]["start"], "random": -0.6}}
    assert same_samples(rows[5], rows)
    assert not same_samples(other, rows)
    assert not same_samples({**rows[5], "seed": 99}, rows)


def value_x(row: dict[str, Any]) -> float:
    return float(row["x"])


FIRST = {seed: {"code": "a", "x": 2.0} for seed in (1, 2, 3)}
SECOND = {1: {"code": "a", "x": 1.0}, 2: {"code": "a", "x": 1.0}, 3: {"code": "b", "x": 9.0}}
"""The third seed is played by two codes."""


def test_difference_leaves_out_games_of_two_codes() -> None:
    result = difference(FIRST, value_x, SECOND, value_x)
    assert result is not None
    assert (result.seeds, result.difference) == (2, 1.0)


def test_means_and_gains_leave_out_games_of_two_codes() -> None:
    assert shared_seeds([FIRST, SECOND]) == [1, 2]
    assert mean_over([(FIRST, value_x), (SECOND, value_x)]) == {1: 1.5, 2: 1.5}
    gains = gains_over(FIRST, value_x, SECOND, value_x)
    assert {seed: read_gain(row) for seed, row in gains.items()} == {1: 1.0, 2: 1.0}
    of_another_code = {seed: {**row, "code": "c"} for seed, row in gains.items()}
    assert mean_over([(gains, read_gain), (of_another_code, read_gain)]) == {}
