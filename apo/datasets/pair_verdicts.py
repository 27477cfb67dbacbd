"""What a row with a chosen and a rejected answer says about both: a tie, a verdict, grades."""

from collections import Counter

from apo.core.records import Row
from apo.datasets.fields import bad_value, filled, number_of_cell
from apo.datasets.paired_columns import STATUSES, TIE_MARKS, VERDICTS
from apo.datasets.parsed import Names, Parse, ParsedRow
from apo.datasets.verdicts import is_tie, label_key

_SAYING = (*TIE_MARKS, *STATUSES, *VERDICTS)
_NO_LABELS = ("none", "null", "nan", "n/a")  # under a label or a status, where they are no tie


def roles_beside(first: Row, names: Names) -> dict[str, str]:
    """The roles of the columns beside a chosen and a rejected answer: verdicts, and grades of both."""
    verdicts = dict.fromkeys(_SAYING, "verdict, compared with the order")
    return verdicts | dict.fromkeys(_grade_columns(first, names), "grade, compared with the order")


def with_judgements(parse: Parse, first: Row, names: Names) -> Parse:
    """A parser that also reads what a row says about its two answers: a tie, a verdict, grades."""
    grades = _grade_columns(first, names)

    def parse_judged(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
        parsed = parse(row, where, counts, names)
        _compare_grades(row, grades, counts)
        if row.keys().isdisjoint(_SAYING):
            return parsed
        _check_verdicts(row, names, where)
        return parsed._replace(scores=[0.0] * len(parsed.scores)) if _is_tied(row, names) else parsed

    return parse_judged


def _is_tied(row: Row, names: Names) -> bool:
    """Whether a row says that its answers are equally good: `tie: true`, `status: tie`, `winner: both`."""
    marks = {key: label_key(row[key]) for key in TIE_MARKS if key in row}
    if any(mark in ("true", "yes") or (mark == "1" and key[:3] == "is_") for key, mark in marks.items()):
        return True  # a number under `tie` may count votes
    verdicts = {key: row.get(key) for key in (*STATUSES, *VERDICTS) if key not in names.values()}
    for key in (*STATUSES, "label"):
        if label_key(verdicts.get(key)) in _NO_LABELS:
            verdicts.pop(key, None)
    return any(isinstance(value, str) and filled(value) and is_tie(value) for value in verdicts.values())


def _check_verdicts(row: Row, names: Names, where: str) -> None:
    """Raises RowError if a verdict names the rejected answer: by its column, its model, or its text."""
    only_rejected = _names_of("rejected", row, names) - _names_of("chosen", row, names)
    for key in VERDICTS:
        value = row.get(key) if key not in names.values() else None
        if isinstance(value, str) and value.strip().casefold() in only_rejected:
            found = f"{value!r:.40}, the rejected answer,"
            do = (
                f"fix or remove the row, or map the columns without {key!r} under data.files.columns "
                "(data.hub.columns)"
            )
            raise bad_value("bad_score", where, key, found, "the chosen answer, or a tie", do)


def _names_of(side: str, row: Row, names: Names) -> set[str]:
    values = (side, names[side], *map(row.get, (names[side], f"{side}_model", f"model_{side}")))
    return {value.strip().casefold() for value in values if isinstance(value, str)}


def _grade_columns(first: Row, names: Names) -> tuple[str, ...]:
    """Keys of the grades that chosen and rejected were given, such as score_chosen and score_rejected."""
    forms = [form for word in ("score", "rating", "avg_rating") for form in (f"{word}_{{}}", f"{{}}_{word}")]
    forms += [form.replace("_", "-") for form in forms]
    for form in forms:
        keys = (form.format("chosen"), form.format("rejected"))
        if first.keys() >= {*keys} and not {*keys} & {*names.values()}:
            return keys
    return ()


def _compare_grades(row: Row, grades: tuple[str, ...], counts: Counter[str]) -> None:
    """Counts pairs whose grades are equal, or in the opposite order; the pair stays as it is."""
    values = [number_of_cell(row.get(key)) for key in grades]
    if values and all(isinstance(grade, int | float) and not isinstance(grade, bool) for grade in values):
        counts["pairs_graded_alike"] += values[0] == values[1]
        counts["pairs_graded_the_other_way"] += values[0] < values[1]
