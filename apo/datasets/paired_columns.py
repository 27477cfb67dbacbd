"""Two answers under names that differ in their last letter or number, and the columns with the verdict.

`response_a, response_b, winner`; `answer_0, answer_1, score_0, score_1`; `output_1, output_2, preference`;
`conv_A, conv_B, conv_A_rating, conv_B_rating`; `response_a, response_b, winner_model_a, winner_model_b`. A
number never means a letter: which of 0 and 1 means A differs from set to set, so `labels` has to say it.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from apo.core.records import Row
from apo.datasets.fields import number_in, number_of_cell
from apo.datasets.verdicts import LabelError, check_two_answers, verdict_of

_ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))
_ANSWERS = (
    *("response", "answer", "completion", "output", "summary", "generation", "candidate", "reply"),
    *("conversation", "conv", "messages"),
    *("回答", "答案", "antwort", "respuesta", "resposta", "réponse", "ответ"),
)
_CHOICES = (("chosen", "rejected"), ("chosen_response", "rejected_response"))  # perhaps names of answers
_NAMES = [
    (f"{word}{separator}{first}", f"{word}{separator}{second}", separator)
    for first, second in _ENDS
    for word in _ANSWERS
    for separator in ("_", "", " ", "-")
]
_PAIRS = {names[0]: (number, *names) for number, names in enumerate(_NAMES)}  # by the name of the first
PAIRED_NAMES = frozenset(name for first, second, _ in _NAMES for name in (first, second))
VERDICTS = ("winner", "preference", "preferred", "better", "better_response", "label", "choice")
TIE_MARKS = ("tie", "is_tie", "tied", "is_tied", "draw", "is_draw")  # true if neither answer is better
STATUSES = ("status", "verdict", "outcome", "result")  # may say `tie` among other things
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
    return [
        PairedColumns(first, second, verdict)
        for first, second, separator in answers_in(present)
        for verdict in _verdicts(present, first, second, separator)
    ]


def answers_in(present: Collection[str]) -> list[tuple[str, str, str]]:
    """The columns of two answers, with what is between a name and its end."""
    found = sorted(_PAIRS[key] for key in present if key in _PAIRS)
    return [(first, second, separator) for _, first, second, separator in found if second in present]


def chosen_names_in(row: Row) -> list[PairedColumns]:
    """Two answers, and columns that name the chosen and the rejected one instead of repeating them."""
    choices = [keys for keys in _CHOICES if keys[0] in row and keys[1] in row]
    answers = answers_in(row.keys()) if choices else []
    readings = [PairedColumns(first, second, keys) for first, second, _ in answers for keys in choices]
    return [columns for columns in readings if names_chosen(row, columns)]


def names_chosen(row: Row, columns: PairedColumns) -> bool:
    """Whether the columns of the verdict hold names or numbers of the two answers, and not their texts."""
    texts = {str(row.get(answer)).strip() for answer in (columns.first, columns.second)}
    values = [row.get(key) for key in columns.verdict]
    return all(isinstance(value, str) and value.strip() not in texts for value in values) and all(
        isinstance(number_of_cell(row[key]), float) or _scores_by_name(row, key, columns, "") is not None
        for key in columns.verdict
    )


def _scores_by_name(row: Row, key: str, columns: PairedColumns, where: str) -> list[float] | None:
    try:
        scores = verdict_of(row, key, (columns.first, columns.second), where)
    except LabelError:
        return None
    return scores if scores[0] != scores[1] else None


def _scores_by_choice(row: Row, columns: PairedColumns, where: str) -> list[float]:
    """The scores of two answers from the names of the chosen and of the rejected one."""
    scores = [_scores_by_name(row, key, columns, where) for key in columns.verdict]
    if scores[0] is None or scores[1] is None or scores[0] == scores[1]:
        key, ends = columns.verdict[0], (columns.first[-1], columns.second[-1])
        problem = (
            f"and {row[columns.verdict[1]]!r:.40} in '{columns.verdict[1]}', which do not name each answer"
        )
        raise LabelError(key, row[key], ends, where, problem=problem)
    return scores[0]


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
    check_two_answers(row, (columns.first, columns.second), where)
    if columns.verdict in _CHOICES:
        return _scores_by_choice(row, columns, where)
    if len(columns.verdict) == 2:
        return [number_in(_unmarked(row[key], key), key, where) for key in columns.verdict]
    (key,) = columns.verdict
    return verdict_of(row, key, (columns.first, columns.second), where)


def _unmarked(value: Any, key: str) -> Any:
    """A mark `true` or `false` of a winner as a number; any other value as it is."""
    is_mark = key.startswith("winner") and isinstance(value, bool | str)
    return {"true": 1.0, "false": 0.0}.get(str(value).strip().lower(), value) if is_mark else value
