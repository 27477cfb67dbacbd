"""Markdown tables, and the formats of a difference in a table or in a sentence."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from study.statistics import LEVEL, Paired

NOT_PLAYED = "not played"
HEAD = ("difference, 95 % interval", "p", "seeds")


class Shown:
    """A difference in a sentence, formatted by the letter after the colon of its placeholder.

    >>> shown = Shown(Paired(10, 0.5, 0.46, 0.04, -0.002, 0.081, 0.055, 0.058))
    >>> f"{shown}; {shown:d}; {shown:i}; {shown:p}; {shown:v}; {shown:s}"
    '+0.040 (-0.002 to +0.081), p 0.055; +0.040; -0.002 to +0.081; p 0.055; undecided; 0.058'
    """

    def __init__(self, paired: Paired | None) -> None:
        self.paired = paired

    def __format__(self, spec: str) -> str:
        paired = self.paired
        if paired is None:
            return NOT_PLAYED
        parts = {
            "": f"{difference_text(paired)}, p {p_text(paired.p)}",
            "d": f"{paired.difference:+.3f}",
            "i": interval_text(paired),
            "p": f"p {p_text(paired.p)}",
            "v": verdict_word(paired),
            "s": f"{paired.spread:.3f}",
            "1": f"{paired.first:.3f}",
            "2": f"{paired.second:.3f}",
        }
        return parts[spec]


class Number:
    """A number in a sentence; None is shown as not played."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def __format__(self, spec: str) -> str:
        return NOT_PLAYED if self.value is None else format(self.value, spec)


def by_name(differences: Mapping[str, Paired | None]) -> Mapping[str, Shown]:
    """Differences for a template; a missing name is shown as not played."""
    formatted: defaultdict[str, Shown] = defaultdict(lambda: Shown(None))
    formatted.update({name: Shown(paired) for name, paired in differences.items()})
    return formatted


def numbers(values: Mapping[str, float | None]) -> Mapping[str, Number]:
    """Numbers for a template; a missing name is shown as not played."""
    formatted: defaultdict[str, Number] = defaultdict(lambda: Number(None))
    formatted.update({name: Number(value) for name, value in values.items()})
    return formatted


def table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; a sentence if it has no lines."""
    if not lines:
        return "Not played by two seeds yet."
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *lines))


def columns(paired: Paired) -> list[str]:
    """The columns of `HEAD`."""
    return [difference_text(paired), p_text(paired.p), str(paired.seeds)]


def means(paired: Paired) -> list[str]:
    """Both means, the second first: base, APO."""
    return [f"{paired.second:.3f}", f"{paired.first:.3f}"]


def difference_text(paired: Paired) -> str:
    """The difference and its interval."""
    return f"{paired.difference:+.3f} ({interval_text(paired)})"


def interval_text(paired: Paired) -> str:
    """LOW to HIGH, or `no bound` with too few seeds to decide."""
    if math.isinf(paired.high):
        return "no bound"
    return f"{paired.low:+.3f} to {paired.high:+.3f}"


def p_text(p: float) -> str:
    """Three decimals, four below 0.0095; `below 0.0001` where these would be none.

    >>> p_text(0.25), p_text(0.002), p_text(0.000002)
    ('0.250', '0.0020', 'below 0.0001')
    """
    if p < 0.0001:
        return "below 0.0001"
    return f"{p:.3f}" if p >= 0.0095 else f"{p:.4f}"


def verdict_word(paired: Paired) -> str:
    """`undecided`, `higher` or `lower`, at `LEVEL`."""
    if paired.p > LEVEL:
        return "undecided"
    return "higher" if paired.difference > 0 else "lower"
