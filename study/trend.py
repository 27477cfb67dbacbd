"""How the choice of the APO RM changes with the coefficient, and along the axes of the study."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from study.markdown import HEAD, columns, table
from study.paired import (
    APO,
    Games,
    Row,
    Value,
    against_zero,
    difference,
    gain,
    gains_over,
    games_of,
    of_arm,
    read_gain,
    shared_seeds,
)
from study.settings import Axis, AxisSet, Settings, axis_name
from study.statistics import Paired

CHOSEN = of_arm("chosen", "r1", APO)


def by_coefficient(rows: Sequence[Row]) -> dict[float, Games]:
    """The games of the sweep that differ in the coefficient only; the baseline has 0.1."""
    names = {0.02: "coeff 0.02", 0.5: "coeff 0.5", 2.0: "coeff 2"}
    games: dict[float, Games] = {value: games_of(rows, "sweep", name) for value, name in names.items()}
    return dict(sorted((games | {0.1: games_of(rows, "method", "rjs")}).items()))


def slopes(games: Mapping[float, Games], value: Value) -> dict[int, float]:
    """By seed, the least-squares slope of a value per factor of ten of the key, see `shared_seeds`."""
    log_values = np.log10(list(games))
    return {
        seed: float(np.polyfit(log_values, [value(by_seed[seed]) for by_seed in games.values()], 1)[0])
        for seed in shared_seeds(list(games.values()))
    }


def coefficient_steps(rows: Sequence[Row], measure: str = "chosen") -> dict[str, Paired | None]:
    """The true reward of the chosen responses, from each coefficient to the next, and its `slope`.

    Or another measure of the APO RM.
    """
    games, value = by_coefficient(rows), of_arm(measure, "r1", APO)
    steps: dict[str, Paired | None] = {
        f"{low:g} to {high:g}": difference(games[high], value, games[low], value)
        for low, high in pairwise(games)
    }
    return steps | {"slope": against_zero(list(slopes(games, value).values()))}


def trend_table(rows: Sequence[Row]) -> str:
    """The steps and the slope, with the number of seeds in which each is above 0."""
    games = by_coefficient(rows)
    is_above_zero = {
        f"{low:g} to {high:g}": [
            CHOSEN(games[high][seed]) > CHOSEN(games[low][seed])
            for seed in shared_seeds([games[low], games[high]])
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


def axis_results(
    rows: Sequence[Row], kind: Axis, axis: AxisSet, coefficient: float, measure: str = "chosen"
) -> dict[int, tuple[Paired, Paired]]:
    """By value of an axis, the gain of an RM over the base RM, and over that of the smallest coefficient.

    The measure is the true reward of the chosen responses, or another one. For the smallest coefficient
    itself the second gain is 0.
    """
    results = {}
    for value in axis.values:
        games, control = _with_control(rows, kind, axis, value, coefficient)
        of_rm = of_arm(measure, "r1", APO)
        over_base = difference(games, gain(measure, "r1"), games, lambda _: 0.0)
        over_control = difference(games, of_rm, control, of_rm)
        if over_base and over_control:
            results[value] = (over_base, over_control)
    return results


def axis_slope(rows: Sequence[Row], kind: Axis, axis: AxisSet, coefficient: float) -> Paired | None:
    """The slope of the gain over the control per factor of ten; None for fewer than two values."""
    gains: dict[float, Games] = {}
    for value in axis_results(rows, kind, axis, coefficient):
        games, control = _with_control(rows, kind, axis, value, coefficient)
        gains[value] = gains_over(games, CHOSEN, control, CHOSEN)
    if len(gains) < 2:
        return None
    return against_zero(list(slopes(gains, read_gain).values()))


def axis_table(rows: Sequence[Row], settings: Settings, kind: Axis) -> str:
    """The gain of the choice along an axis at each coefficient, and above the control its slope."""
    axis, lines = getattr(settings, kind), []
    for coefficient in sorted(axis.coefficients):
        is_control = coefficient == min(axis.coefficients)
        for value, (over_base, over_control) in axis_results(rows, kind, axis, coefficient).items():
            control_cells = ["", "", ""] if is_control else columns(over_control)
            lines.append([f"{coefficient:g}", f"{value:,}", *columns(over_base), *control_cells])
        if not is_control and (slope := axis_slope(rows, kind, axis, coefficient)):
            lines.append([f"{coefficient:g}", "slope", "", "", "", *columns(slope)])
    return table(["coeff", axis.unit, "over the base RM", "p", "seeds", "over coeff 0", "p", "seeds"], lines)


def _with_control(
    rows: Sequence[Row], kind: Axis, axis: AxisSet, value: int, coefficient: float
) -> tuple[Games, Games]:
    names = [axis_name(axis, value, number) for number in (coefficient, min(axis.coefficients))]
    games, control = (games_of(rows, kind, name) for name in names)
    return games, control
