"""How the choice of the APO RM changes with the coefficient or with the number of human comparisons."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from study.markdown import HEAD, columns, table
from study.paired import APO, Games, Row, Value, against_zero, difference, gain, games_of, of_arm
from study.settings import Settings, comparisons_name
from study.statistics import Paired

CHOSEN = of_arm("chosen", "r1", APO)


def by_coefficient(rows: Sequence[Row]) -> dict[float, Games]:
    """The games of the sweep that differ in the coefficient only; the baseline has 0.1."""
    names = {0.02: "coeff 0.02", 0.5: "coeff 0.5", 2.0: "coeff 2"}
    games: dict[float, Games] = {value: games_of(rows, "sweep", name) for value, name in names.items()}
    return dict(sorted((games | {0.1: games_of(rows, "method", "rjs")}).items()))


def slopes(games: Mapping[float, Games], value: Value) -> dict[int, float]:
    """By seed, the least-squares slope of a value per factor of ten of the key."""
    seeds = set.intersection(*(set(by_seed) for by_seed in games.values()))
    log_values = np.log10(list(games))
    return {
        seed: float(np.polyfit(log_values, [value(by_seed[seed]) for by_seed in games.values()], 1)[0])
        for seed in sorted(seeds)
    }


def coefficient_steps(rows: Sequence[Row]) -> dict[str, Paired | None]:
    """The true reward of the chosen responses, from each coefficient to the next, and its `slope`."""
    games = by_coefficient(rows)
    steps: dict[str, Paired | None] = {
        f"{low:g} to {high:g}": difference(games[high], CHOSEN, games[low], CHOSEN)
        for low, high in pairwise(games)
    }
    return steps | {"slope": against_zero(list(slopes(games, CHOSEN).values()))}


def trend_table(rows: Sequence[Row]) -> str:
    """The steps and the slope, with the number of seeds in which each is above 0."""
    games = by_coefficient(rows)
    is_above_zero = {
        f"{low:g} to {high:g}": [
            CHOSEN(games[high][seed]) > CHOSEN(games[low][seed]) for seed in games[low] if seed in games[high]
        ]
        for low, high in pairwise(games)
    }
    is_above_zero["slope"] = [slope > 0 for slope in slopes(games, CHOSEN).values()]
    lines = []
    for name, step in coefficient_steps(rows).items():
        if step:
            title = "slope, for each factor of ten" if name == "slope" else name
            lines.append([title, *columns(step), f"{sum(is_above_zero[name])} of {len(is_above_zero[name])}"])
    return table(["coeff", *HEAD, "seeds above 0"], lines)


def comparisons_table(rows: Sequence[Row], settings: Settings) -> str:
    """The gain of the choice over the base RM and over coeff 0, by the number of human comparisons."""
    comparisons, lines = settings.comparisons, []
    control, *coefficients = sorted(comparisons.coefficients)
    for coefficient in coefficients:
        differences: dict[float, dict[int, float]] = {}
        for number in comparisons.numbers:
            games = games_of(rows, "comparisons", comparisons_name(number, coefficient))
            control_games = games_of(rows, "comparisons", comparisons_name(number, control))
            over_base = difference(games, gain("chosen", "r1"), games, lambda _: 0.0)
            over_control = difference(games, CHOSEN, control_games, CHOSEN)
            if over_base and over_control:
                lines.append([f"{coefficient:g}", f"{number:,}", *columns(over_base), *columns(over_control)])
                differences[number] = {
                    seed: CHOSEN(games[seed]) - CHOSEN(control_games[seed])
                    for seed in set(games) & set(control_games)
                }
        if len(differences) > 1:
            lines.append([f"{coefficient:g}", "slope", "", "", "", *_slope_columns(differences)])
    head = ["coeff", "comparisons", "over the base RM", "p", "seeds", "over coeff 0", "p", "seeds"]
    return table(head, lines)


def _slope_columns(values: Mapping[float, Mapping[int, float]]) -> list[str]:
    games = {
        number: {seed: {"value": difference} for seed, difference in by_seed.items()}
        for number, by_seed in values.items()
    }
    slope = against_zero(list(slopes(games, lambda row: float(row["value"])).values()))
    return columns(slope) if slope else ["", "", ""]
