"""How the choice of the APO RM changes with a number: the coefficient, or the human comparisons."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from study.markdown import HEAD, columns, table
from study.paired import APO, Games, Row, Value, against_zero, difference, gain, games_of, of_arm
from study.settings import Settings, comparisons_name
from study.statistics import Paired

CHOSEN = of_arm("chosen", "r1", APO)


def by_coefficient(rows: Sequence[Row]) -> dict[float, Games]:
    """The games of one world whose coefficients differ and nothing else; the baseline has 0.1."""
    names = {0.02: "coeff 0.02", 0.5: "coeff 0.5", 2.0: "coeff 2"}
    games: dict[float, Games] = {value: games_of(rows, "sweep", name) for value, name in names.items()}
    return dict(sorted((games | {0.1: games_of(rows, "method", "rjs")}).items()))


def slopes(games: Mapping[float, Games], value: Value) -> dict[int, float]:
    """By seed, the least-squares slope of a value for each factor of ten of the number."""
    seeds = set.intersection(*(set(one) for one in games.values()))
    tens = np.log10(list(games))
    return {
        seed: float(np.polyfit(tens, [value(one[seed]) for one in games.values()], 1)[0])
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
    """The steps and the slope, with in how many seeds each is above 0."""
    games = by_coefficient(rows)
    rising = {
        f"{low:g} to {high:g}": [
            CHOSEN(games[high][seed]) > CHOSEN(games[low][seed]) for seed in games[low] if seed in games[high]
        ]
        for low, high in pairwise(games)
    }
    rising["slope"] = [slope > 0 for slope in slopes(games, CHOSEN).values()]
    lines = []
    for name, step in coefficient_steps(rows).items():
        if step:
            title = "slope, for each factor of ten" if name == "slope" else name
            lines.append([title, *columns(step), f"{sum(rising[name])} of {len(rising[name])}"])
    return table(["coeff", *HEAD, "seeds above 0"], lines)


def comparisons_table(rows: Sequence[Row], settings: Settings) -> str:
    """The gain of the choice over the base RM and over coeff 0, by the number of human comparisons."""
    axis, lines = settings.comparisons, []
    control, *others = sorted(axis.coefficients)
    for coefficient in others:
        slope: dict[float, dict[int, float]] = {}
        for number in axis.numbers:
            games = games_of(rows, "comparisons", comparisons_name(number, coefficient))
            none = games_of(rows, "comparisons", comparisons_name(number, control))
            over_base = difference(games, gain("chosen", "r1"), games, lambda _: 0.0)
            over_control = difference(games, CHOSEN, none, CHOSEN)
            if over_base and over_control:
                lines.append([f"{coefficient:g}", f"{number:,}", *columns(over_base), *columns(over_control)])
                slope[number] = {
                    seed: CHOSEN(games[seed]) - CHOSEN(none[seed]) for seed in set(games) & set(none)
                }
        if len(slope) > 1:
            lines.append([f"{coefficient:g}", "slope", "", "", "", *_slope_columns(slope)])
    head = ["coeff", "comparisons", "over the base RM", "p", "seeds", "over coeff 0", "p", "seeds"]
    return table(head, lines)


def _slope_columns(values: Mapping[float, Mapping[int, float]]) -> list[str]:
    games = {
        number: {seed: {"value": one} for seed, one in by_seed.items()} for number, by_seed in values.items()
    }
    slope = against_zero(list(slopes(games, lambda row: float(row["value"])).values()))
    return columns(slope) if slope else ["", "", ""]
