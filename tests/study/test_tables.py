"""study/tables.py on made-up rows."""

import pytest

from study.settings import read_settings
from study.tables import (
    confirmation_table,
    control_table,
    games_table,
    llm_table,
    points_table,
    pooled_llm,
    question_table,
    rm_table,
    sweep_table,
)
from tests.study.made_up import made_up

SETTINGS = read_settings()


def test_question_table_corrects_its_seven_tests_and_pools_by_seed() -> None:
    lines = question_table(made_up(seeds=9)).splitlines()
    assert len(lines) == 2 + 7 + 1
    # 0.01 x the mean of 1 + 0.1 x seed; 2 of 512 flips, times 7.
    assert lines[2].startswith("| chosen responses, round 1 | 0.500 | 0.515 | +0.015 (")
    assert lines[2].endswith("| 0.0039 | 9 | 0.027 |")
    assert lines[-1].startswith("| LLM, mean over the six cells |  |  | +0.015 (")
    pooled = pooled_llm(made_up(seeds=8, rjs=0.04))
    assert pooled is not None
    assert pooled.difference == pytest.approx(0.02 * 1.45)  # two of six cells with 0.04


def test_sweep_table_corrects_for_all_settings_that_were_played() -> None:
    rows = made_up()
    table = sweep_table(rows, SETTINGS)
    assert "| baseline | baseline | 0.90 | 0.500 -> 0.512 |" in table
    assert "| 0.125 | 4 | 1.000 |" in table  # 2 of 16 flips, times 18 settings
    part = [row for row in rows if row["kind"] == "method" and row["seed"] < 3]
    assert sweep_table(part, SETTINGS).count("\n|") == 2
    assert sweep_table([], SETTINGS) == "Not played by two seeds yet."


def test_control_table_is_against_the_rm_without_samples() -> None:
    table = control_table(made_up(seeds=8, WGAN=-0.1), SETTINGS)
    assert "| WGAN | -0.16" in table  # (-0.1 - 0.01) x (1 + 0.1 x seed), mean over 8 seeds
    assert "no adversarial" not in table
    assert "temperature 3" not in table  # other labels: coeff 0 of the baseline is no control
    assert "1 sample" not in table  # other steps
    wgan = next(line for line in table.splitlines() if "WGAN" in line)
    assert wgan.endswith("| 0.0078 | 8 | 0.070 |")  # the smallest of 9


def test_confirmation_table_has_both_controls() -> None:
    table = confirmation_table(made_up(**{"coeff 2": 0.02}), SETTINGS)
    # On seeds 11 to 20: 0.02 and (0.02 - 0.01), times the mean of 1 + 0.1 x seed.
    assert "| coeff 2 | test accuracy | base RM | 0.500 | 0.551 | +0.051 (" in table
    assert "| coeff 2 | test accuracy | coeff 0 | 0.52" in table
    assert confirmation_table([], SETTINGS) == "Not played by two seeds yet."


def test_rm_and_llm_tables_have_a_line_for_each_measure_and_round() -> None:
    rows = made_up()
    assert rm_table(rows).count("\n") == 1 + 4 * 5
    assert "| rjs | 1 | true reward | 0.500 | 0.512 | +0.013 (" in llm_table(rows)
    assert llm_table(rows).count("\n") == 1 + 6 * 4
    assert "| tone | +0.113 (" in points_table(rows)


def test_games_table_counts_the_seeds_that_were_played() -> None:
    assert "| method | rrhf | 4 of 10 | 10 |" in games_table(made_up(), SETTINGS)


def test_tables_have_as_many_cells_in_every_line() -> None:
    rows = made_up()
    for table in (question_table(rows), sweep_table(rows, SETTINGS), control_table(rows, SETTINGS)):
        assert len({line.count("|") for line in table.splitlines()}) == 1
