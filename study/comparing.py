"""Rows of `results.jsonl`, put beside each other seed by seed."""

from collections.abc import Callable, Sequence
from typing import Any

from study.statistics import Paired, paired

Row = dict[str, Any]
Value = Callable[[Row], float]
BASE, APO = 0, 1


def played(rows: Sequence[Row], kind: str, name: str) -> dict[int, Row]:
    """The games of a method or condition by seed."""
    return {row["seed"]: row for row in rows if (row["kind"], row["name"]) == (kind, name)}


def of_arm(measure: str, one: str, arm: int) -> Value:
    """Reads a measure of one arm in a round off a row."""

    def value(row: Row) -> float:
        return float(row["pairs"][one][measure][arm])

    return value


def arms(games: dict[int, Row], measure: str, one: str = "r1") -> Paired | None:
    """APO arm minus base arm; None where fewer than two seeds have both."""
    return between(games, of_arm(measure, one, APO), games, of_arm(measure, one, BASE))


def between(
    first: dict[int, Row], of_first: Value, second: dict[int, Row], of_second: Value
) -> Paired | None:
    """A value of some games minus one of others with the same seeds; None where they share fewer than two.

    A game without the value, such as a tau where all rewards are equal, is left out; `seeds` tells how many
    are left.
    """
    pairs = []
    for seed in sorted(set(first) & set(second)):
        try:
            pairs.append((of_first(first[seed]), of_second(second[seed])))
        except KeyError:
            continue
    return paired(*zip(*pairs, strict=True)) if len(pairs) > 1 else None
