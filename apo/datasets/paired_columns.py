"""Two answers under names that differ in their last letter or number, and the columns with the verdict.

`response_a, response_b, winner`; `answer_0, answer_1, score_0, score_1`; `output_1, output_2, preference`;
`conv_A, conv_B, conv_A_rating, conv_B_rating`; `response_a, response_b, winner_model_a, winner_model_b`. A
number never means a letter: which of 0 and 1 means A differs from set to set, so `labels` has to say it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from apo.datasets.fields import number_in
from apo.datasets.verdicts import verdict_of

_ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))
_ANSWERS = (
    *("response", "answer", "completion", "output", "summary", "generation", "candidate", "reply"),
    *("conversation", "conv", "messages"),
)
VERDICTS = ("winner", "preference", "preferred", "better", "better_response", "label", "choice")
_GRADES = ("score", "rating", "reward")


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
    return verdict_of(row, key, (columns.first, columns.second), where)
