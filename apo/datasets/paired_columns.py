"""Two answers under names that differ in their last letter or number, and the keys that say which is better.

`response_a, response_b, winner`; `answer_0, answer_1, score_0, score_1`; `output_1, output_2, preference`;
`conv_A, conv_B, conv_A_rating, conv_B_rating`; `response_a, response_b, winner_model_a, winner_model_b`. A
number never means a letter: which of 0 and 1 stands for A differs from set to set, so that has to be said.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from apo.core.errors import UserError
from apo.datasets.fields import number_in, number_of_cell, refuse

_ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))
_ANSWERS = (
    *("response", "answer", "completion", "output", "summary", "generation", "candidate", "reply"),
    *("conversation", "conv", "messages"),
)
VERDICTS = ("winner", "preference", "preferred", "better", "better_response", "label", "choice")
_GRADES = ("score", "rating", "reward")
_OF_WHAT = r"(?:(?:model|response|answer|completion|output|summary|assistant|candidate)[ _-]?)?"
_SIDE = re.compile(_OF_WHAT + r"([ab012])", re.IGNORECASE)
_TIE = re.compile(r"tie([ _(].*)?|draw|equal|(both|neither)([ _]?(bad|good))?", re.IGNORECASE)


class PairedColumns(NamedTuple):
    """Where two answers stand and what says which is better: the keys of it, one, or one for each answer."""

    first: str
    second: str
    verdict: tuple[str, ...]


def paired_columns_in(keys: Iterable[str]) -> list[PairedColumns]:
    """Every way to read two answers and what is said about them from the keys of a row.

    >>> paired_columns_in(["prompt", "response_a", "response_b", "winner"])
    [PairedColumns(first='response_a', second='response_b', verdict=('winner',))]
    """
    there = set(keys)
    found = []
    for one, other in _ENDS:
        for word in _ANSWERS:
            for joint in ("_", ""):
                first, second = f"{word}{joint}{one}", f"{word}{joint}{other}"
                if {first, second} <= there:
                    found += [
                        PairedColumns(first, second, verdict)
                        for verdict in _verdicts(there, first, second, joint)
                    ]
    return found


def _verdicts(there: set[str], first: str, second: str, joint: str) -> list[tuple[str, ...]]:
    """Keys that say which is better: what a judge said, else one mark for each, else one grade for each."""
    one, other = first[-1], second[-1]
    said: list[tuple[str, ...]] = [(key,) for key in VERDICTS if key in there]
    marks = [(f"winner_{what}{one}", f"winner_{what}{other}") for what in ("", "model_", "response_")]
    grades = [(f"{grade}{joint}{one}", f"{grade}{joint}{other}") for grade in _GRADES]
    grades += [(f"{first}_{grade}", f"{second}_{grade}") for grade in _GRADES]
    for pairs in (marks, grades):
        said = said or [pair for pair in pairs if there.issuperset(pair)]
    return said


def scores_of(row: dict[str, Any], sides: PairedColumns, where: str) -> list[float]:
    """A score for each of two answers, equal where neither is better.

    Raises:
        RowError: What is said is neither an answer nor a tie.
        UserError: It is a number that could mean either.
    """
    if len(sides.verdict) == 2:
        return [number_in(row[key], key, where) for key in sides.verdict]
    (key,) = sides.verdict
    return verdict_in(row[key], key, (sides.first[-1], sides.second[-1]), where)


def verdict_in(value: Any, key: str, ends: tuple[str, str], where: str) -> list[float]:
    """The scores of two answers from what a judge said: the name of one, its number, or a tie.

    Args:
        value: `model_a`, `A`, `response_1`, `tie`, `both_bad`; a number where the answers are numbered.
        key: Where it stands, for messages.
        ends: What the names of the answers end in: `("1", "2")`.
        where: For messages.
    """
    expected = f"the better one of {' and '.join(ends)}, or 'tie'"
    value = number_of_cell(value)
    if isinstance(value, str):
        said = value.strip()
        if _TIE.fullmatch(said):
            return [0.0, 0.0]
        match = _SIDE.fullmatch(said)
        mark = match[1].lower() if match else ""
        if mark in ("a", "b"):
            return [float(mark == "a"), float(mark == "b")]
        if mark in ends:
            return [float(mark == ends[0]), float(mark == ends[1])]
        refuse("bad_score", where, key, f"{type(value).__name__} {said[:40]!r}", expected)
    if not ends[0].isdecimal():
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise _unclear(f"{value!r:.40} in '{key}'", ends, where)
        refuse("bad_score", where, key, f"{type(value).__name__} {value!r:.40}", expected)
    number, low = number_in(value, key, where), float(ends[0])
    if not low <= number <= low + 1:
        raise _unclear(f"{value!r:.40} in '{key}'", ends, where)
    return [low + 1 - number, number - low]


def _unclear(found: str, ends: tuple[str, str], where: str) -> UserError:
    return UserError(
        where,
        found=f"{found} for answers that end in {ends[0]!r} and {ends[1]!r}",
        expected="a number of the better one, or its letter",
        do="map the columns under data.files.columns (data.hub.columns) so that the number is plain: "
        "`response_0`, `response_1` and `better`, the number of the better one, prompt with them",
    )
