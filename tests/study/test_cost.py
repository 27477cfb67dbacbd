"""study/cost.py: hours from the seconds of kept games."""

import pytest

from study.cost import cost_table, hours
from study.settings import read_settings
from tests.study.made_up import made_up

SETTINGS = read_settings()
ROWS = made_up()  # every game took 10 s; of the sets of the table none is played


def test_hours_are_those_of_the_games_of_the_set() -> None:
    played = [{"kind": "comparisons", "seconds": seconds} for seconds in (30.0, 50.0)]
    axis = SETTINGS.comparisons
    games = len(axis.values) * len(axis.seeds) * len(axis.coefficients)
    assert hours(ROWS + played, [], SETTINGS)["comparisons"] == (games, 2, pytest.approx(games * 40 / 3600))


def test_hours_before_a_game_is_played_are_those_of_all_games() -> None:
    costs = hours(ROWS, [{"targets": 400, "seconds": 3.0}], SETTINGS)
    count, kept, core_hours = costs["model_size"]
    assert (count, kept, core_hours * 3600) == (60, 0, pytest.approx(60 * 10))
    assert costs["transfer, 400 targets"] == (340, 1, pytest.approx(340 * 3 / 3600))
    # A seventh of a game for the smallest number of targets, four times as much for four times as many.
    assert costs["transfer, 1,600 targets"] == (140, 0, pytest.approx(140 * 4 * 10 / 7 / 3600))


def test_cost_table_has_a_line_for_each_set_also_without_kept_games() -> None:
    assert cost_table([], [], SETTINGS).count("\n") == 1 + 5
