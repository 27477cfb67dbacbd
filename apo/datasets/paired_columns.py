"""Two answers under names that differ in their last letter or number, and the keys that say which is better.

`response_a, response_b, winner`; `answer_0, answer_1, score_0, score_1`; `output_1, output_2, preference`;
`conv_A, conv_B, conv_A_rating, conv_B_rating`; `response_a, response_b, winner_model_a, winner_model_b`. A
number never means a letter: which of 0 and 1 means A differs from set to set, so `labels` has to say it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from apo.core.errors import RowError, UserError
from apo.datasets.fields import number_in, number_of_cell

_ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))
_ANSWERS = (
    *("response", "answer", "completion", "output", "summary", "generation", "candidate", "reply"),
    *("conversation", "conv", "messages"),
)
VERDICTS = ("winner", "preference", "preferred", "better", "better_response", "label", "choice")
_GRADES = ("score", "rating", "reward")
_OF_WHAT = r"(?:(?:model|response|answer|completion|output|summary|assistant|candidate)[ _-]?)?"
_SIDE = re.compile(_OF_WHAT + r"([ab012])", re.IGNORECASE)
_TIE = re.compile(
    r"tied?([ _(-].*)?|draw|equal(ly.*)?|same|similar|none|null|nan|n/a|no[ _]preference|undecided|unsure"
    r"|(both|neither)([ _-].*)?|(all|both)?[ _]?(are)?[ _]?(bad|good)",
    re.IGNORECASE,
)


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
    """
    if len(sides.verdict) == 2:
        return [number_in(row[key], key, where) for key in sides.verdict]
    (key,) = sides.verdict
    return verdict_in(row[key], key, (sides.first[-1], sides.second[-1]), where)


def verdict_in(value: Any, key: str, ends: tuple[str, str], where: str) -> list[float]:
    """The scores of two answers from what a judge said: the name of one, its number, or a tie.

    Args:
        value: `model_a`, `A`, `response_1`, `tie`, `both_bad`; a number where the answers are numbered; null
            or blank where nobody decided, which is a tie.
        key: Where it is, for messages.
        ends: What the names of the answers end in: `("1", "2")`.
        where: For messages.

    Raises:
        LabelError: It is neither.
    """
    value = number_of_cell(value)
    if value is None or (isinstance(value, float) and value != value):
        return [0.0, 0.0]
    if isinstance(value, str):
        label = value.strip()
        if not label or _TIE.fullmatch(label):
            return [0.0, 0.0]
        match = _SIDE.fullmatch(label)
        mark = match[1].lower() if match else ""
        for number, letter in enumerate("ab"):
            if mark in (letter, ends[number].lower()):
                return [float(number == 0), float(number == 1)]
    elif ends[0].isdecimal() and isinstance(value, int | float) and not isinstance(value, bool):
        low = float(ends[0])
        if low <= value <= low + 1:
            return [low + 1 - float(value), float(value) - low]
    raise LabelError(key, value, ends, where)


class LabelError(RowError):
    """A label of which nobody can know which answer it means.

    Attributes:
        key: The column.
        ends: What the names of the answers end in.
    """

    def __init__(self, key: str, value: Any, ends: tuple[str, str], where: str) -> None:
        is_number = isinstance(value, int | float)
        kind = "" if is_number else f"{type(value).__name__} "
        super().__init__(
            "unknown_label" if is_number else "bad_score",
            where,
            found=f"{kind}{value!r:.40} in '{key}' for answers that end in {ends[0]!r} and {ends[1]!r}",
            expected="a number of the better one, or its letter, or a tie",
            do="write under data.files.labels (data.hub.labels) what each value means: "
            f"{ends[0]}, {ends[1]} or tie",
        )
        self.key, self.ends = key, ends


def label_meanings(labels: Mapping[Any, Any], ends: tuple[str, str], where: str) -> dict[str, str]:
    """What each value of a label means, as texts: the end of an answer's name, or `tie`.

    Raises:
        UserError: A meaning is none of these.
    """
    meanings = {label_text(value): str(meaning).strip() for value, meaning in labels.items()}
    allowed = {end.lower() for end in ends} | {"a", "b", "tie"}
    for value, meaning in meanings.items():
        if meaning.lower() not in allowed:
            raise UserError(
                where,
                found=f"{value}: {meaning!r:.40}",
                expected=f"{ends[0]}, {ends[1]} or tie",
                do="write which answer the value means, by the end of its name",
            )
    return meanings


def label_text(value: Any) -> str:
    """A label as a text under which it is looked up: 1 for 1, 1.0 and '1', true for True."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
