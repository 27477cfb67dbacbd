"""Two answers under names that differ in their last letter or number, and the columns with the verdict.

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
_NOUN = r"(?:(?:model|response|answer|completion|output|summary|assistant|candidate)[ _-]?)?"
_ANSWER_NAME = re.compile(_NOUN + r"([ab012])", re.IGNORECASE)
_TIE = re.compile(
    r"tied?([ _(-].*)?|draw|equal(ly.*)?|same|similar|none|null|nan|n/a|no[ _]preference|undecided|unsure"
    r"|(both|neither)([ _-].*)?|(all|both)?[ _]?(are)?[ _]?(bad|good)",
    re.IGNORECASE,
)


class PairedColumns(NamedTuple):
    """The columns of two answers and of the verdict: one column, or one for each answer."""

    first: str
    second: str
    verdict: tuple[str, ...]


def paired_columns_in(keys: Iterable[str]) -> list[PairedColumns]:
    """Every way to read two answers and the verdict from the keys of a row.

    >>> paired_columns_in(["prompt", "response_a", "response_b", "winner"])
    [PairedColumns(first='response_a', second='response_b', verdict=('winner',))]
    """
    present = set(keys)
    readings = []
    for first_end, second_end in _ENDS:
        for word in _ANSWERS:
            for separator in ("_", ""):
                first, second = f"{word}{separator}{first_end}", f"{word}{separator}{second_end}"
                if {first, second} <= present:
                    readings += [
                        PairedColumns(first, second, verdict)
                        for verdict in _verdicts(present, first, second, separator)
                    ]
    return readings


def _verdicts(present: set[str], first: str, second: str, separator: str) -> list[tuple[str, ...]]:
    """The columns of a verdict: that of a judge, else a mark for each answer, else a grade for each."""
    first_end, second_end = first[-1], second[-1]
    verdicts: list[tuple[str, ...]] = [(key,) for key in VERDICTS if key in present]
    marks = [
        (f"winner_{noun}{first_end}", f"winner_{noun}{second_end}") for noun in ("", "model_", "response_")
    ]
    grades = [(f"{grade}{separator}{first_end}", f"{grade}{separator}{second_end}") for grade in _GRADES]
    grades += [(f"{first}_{grade}", f"{second}_{grade}") for grade in _GRADES]
    for pairs in (marks, grades):
        verdicts = verdicts or [pair for pair in pairs if present.issuperset(pair)]
    return verdicts


def scores_of(row: dict[str, Any], columns: PairedColumns, where: str) -> list[float]:
    """A score for each of two answers, equal for a tie.

    Raises:
        RowError: The verdict is neither an answer nor a tie.
    """
    if len(columns.verdict) == 2:
        return [number_in(row[key], key, where) for key in columns.verdict]
    (key,) = columns.verdict
    return verdict_in(row[key], key, (columns.first[-1], columns.second[-1]), where)


def verdict_in(value: Any, key: str, ends: tuple[str, str], where: str) -> list[float]:
    """The scores of two answers from a verdict: the name of one, its number, or a tie.

    Args:
        value: `model_a`, `A`, `response_1`, `first`, `tie`, `both_bad`; a number if the answers are numbered;
            null or blank for no decision, which is a tie.
        ends: The ends of the names of the answers: `("1", "2")`.

    Raises:
        LabelError: It is none of these.
    """
    value = number_of_cell(value)
    if value is None or (isinstance(value, float) and value != value):
        return [0.0, 0.0]
    if isinstance(value, str):
        label = value.strip()
        if not label or _TIE.fullmatch(label):
            return [0.0, 0.0]
        match = _ANSWER_NAME.fullmatch(label)
        name = match[1].lower() if match else {"first": "a", "second": "b"}.get(label.lower(), "")
        for number, letter in enumerate("ab"):
            if name in (letter, ends[number].lower()):
                return [float(number == 0), float(number == 1)]
    elif ends[0].isdecimal() and isinstance(value, int | float) and not isinstance(value, bool):
        low = float(ends[0])
        if low <= value <= low + 1:
            return [low + 1 - float(value), float(value) - low]
    raise LabelError(key, value, ends, where)


class LabelError(RowError):
    """A label, in the column `key`, that does not say which answer is better."""

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
        self.key = key


def label_meanings(labels: Mapping[Any, Any], ends: tuple[str, str], where: str) -> dict[str, str]:
    """The meaning of each value of a label, as texts: the end of an answer's name, or `tie`.

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
    """A label as a key for look-ups: 1 for 1, 1.0 and '1', true for True."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
