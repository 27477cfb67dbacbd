"""study/cost.py: hours from the seconds of kept games."""

import pytest

from study.cost import cost_table, hours
from study.settings import read_settings
from tests.study.made_up import made_up

SETTINGS = read_settings()


def test_hours_count_first_and_further_games() -> None:
    costs = hours(made_up(), SETTINGS)  # every game took 10 s
    seeds, coefficients = len(SETTINGS.alignment.seeds), len(SETTINGS.alignment.coefficients)
    assert costs["alignment"] == (
        seeds * coefficients * 3,
        pytest.approx(seeds * coefficients * 3 * 10 / 3600),
    )
    axis = SETTINGS.comparisons
    assert costs["comparisons"][0] == len(axis.values) * len(axis.seeds) * len(axis.coefficients)
    small, large = costs["transfer, 400 targets"], costs["transfer, 1,600 targets"]
    assert (small[0], large[0]) == (340, 140)
    # Ten worlds of six games; 340 alignments of a seventh of a game, and 140 of four times as many targets.
    assert small[1] * 3600 == pytest.approx(10 * 60 + 340 * 10 / 7)
    assert large[1] * 3600 == pytest.approx(10 * 60 + 140 * 4 * 10 / 7)


def test_cost_table_has_a_line_for_each_set_also_without_kept_games() -> None:
    assert cost_table([], SETTINGS).count("\n") == 1 + 5
