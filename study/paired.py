"""Rows of `results.jsonl`, paired seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from study.statistics import Paired, paired

Row = dict[str, Any]
Games = Mapping[int, Row]
"""Rows by seed."""
Value = Callable[[Row], float]
BASE, APO = 0, 1
CONTROL = "no adversarial samples (coeff 0)"


def games_of(rows: Sequence[Row], kind: str, name: str) -> dict[int, Row]:
    """The games of a method or a setting by seed."""
    return {row["seed"]: row for row in rows if (row["kind"], row["name"]) == (kind, name)}


def of_arm(measure: str, round: str, arm: int) -> Value:
    """A function that reads a measure of one arm in a round from a row."""

    def value(row: Row) -> float:
        return float(row["pairs"][round][measure][arm])

    return value


def gain(measure: str, round: str) -> Value:
    """A function that reads APO minus base from a row."""

    def value(row: Row) -> float:
        base, apo = row["pairs"][round][measure]
        return float(apo) - float(base)

    return value


def apo_minus_base(games: Games, measure: str, round: str = "r1") -> Paired | None:
    """APO arm minus base arm; None if fewer than two seeds have both."""
    return difference(games, of_arm(measure, round, APO), games, of_arm(measure, round, BASE))


def difference(first: Games, of_first: Value, second: Games, of_second: Value) -> Paired | None:
    """A value of some games minus one of others with the same seeds; None if they share fewer than two.

    A game without the value, such as a tau of equal rewards, is left out, and so are two games of different
    code, with which the same seed is another world; `seeds` does not count them.
    """
    pairs = []
    for seed in sorted(set(first) & set(second)):
        if not one_code(first[seed], second[seed]):
            continue
        try:
            pairs.append((of_first(first[seed]), of_second(second[seed])))
        except KeyError:
            continue
    return paired(*zip(*pairs, strict=True)) if len(pairs) > 1 else None


def mean_over(cells: Sequence[tuple[Games, Value]]) -> dict[int, float]:
    """The mean of several values by seed, over the seeds that have all of them, played by one code.

    The seed stays the unit: several values of one seed count once.
    """
    seeds = shared_seeds([games for games, _ in cells])
    return {seed: fmean(value(games[seed]) for games, value in cells) for seed in seeds}


def shared_seeds(series: Sequence[Games]) -> list[int]:
    """The seeds that all series of games have, without those that more than one code has played."""
    shared = set.intersection(*map(set, series)) if series else set()
    return [seed for seed in sorted(shared) if one_code(*(games[seed] for games in series))]


def one_code(*rows: Row) -> bool:
    """Whether one code has played all: with another one, the same seed is another world."""
    return len({row.get("code") for row in rows}) == 1


def gains_over(games: Games, value: Value, control: Games, of_control: Value) -> Games:
    """By seed, as `gain`, a value minus that of a control, with the code that played both."""
    return {
        seed: {
            "gain": value(games[seed]) - of_control(control[seed]),
            "code": games[seed].get("code"),
        }
        for seed in shared_seeds([games, control])
    }


def read_gain(row: Row) -> float:
    """The value of a row of `gains_over`."""
    return float(row["gain"])


def against_zero(values: Sequence[float]) -> Paired | None:
    """Differences, one per seed, tested against 0; None for fewer than two seeds."""
    return paired(values, [0.0] * len(values)) if len(values) > 1 else None


def same_samples(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a game chose among the samples of the baseline of its seed."""
    baseline = games_of(rows, "method", "rjs").get(row["seed"])
    return baseline is not None and all(
        row["start"][name] == baseline["start"][name] for name in ("random", "best")
    )
