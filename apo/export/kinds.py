"""Recognizes the kind of a record by its keys and checks its values."""

from apo.core.errors import UserError
from apo.core.records import Row, is_finite_number


class UnfitError(UserError):
    """A record of the right kind that a format can't represent."""


_TEXT, _TEXTS, _NUMBERS, _NAMED = "a text", "a list of texts", "a list of finite numbers", "an object by name"
_KINDS: dict[str, dict[str, str]] = {  # the first one whose keys are there
    "comparison": {"query_id": _TEXT, "query": _TEXT, "responses": _TEXTS, "scores": _NUMBERS},
    "selection": {"query_id": _TEXT, "query": _TEXT, "target": _TEXT, "samples": _TEXTS, "scores": _NUMBERS},
    "golden": {"query_id": _TEXT, "query": _TEXT, "golden": _TEXT},
    "samples": {"query_id": _TEXT, "query": _TEXT, "samples": _TEXTS},
    "demonstration": {"query_id": _TEXT, "query": _TEXT, "response": _TEXT},
    "scores": {"query_id": _TEXT, "scores": _NUMBERS},
}
_OPTIONAL = {"type": _TEXT, "extra": _NAMED, "source_rewards": _NUMBERS, "made_by": _TEXT}
_SCORED_KEY = {"comparison": "responses", "selection": "samples"}


def kind_of(row: Row, *, where: str) -> str:
    """comparison (an APO item is one), selection, golden, samples, demonstration or scores.

    Raises:
        UserError: The keys fit no kind, or a value has the wrong type.
    """
    kind = next((kind for kind, keys in _KINDS.items() if keys.keys() <= row.keys()), None)
    if kind is None:
        raise UserError(
            where,
            found=f"keys {sorted(row)}",
            expected="a comparison, an APO item, golden answer, samples, scores, selection or demonstration",
            do="export a file that this pipeline wrote",
        )
    for key, expected in (_KINDS[kind] | _OPTIONAL).items():
        if key in row and not _has_type(row[key], expected):
            raise UserError(where, found=f"{row[key]!r:.60} under {key!r}", expected=expected, do=_MAKE_AGAIN)
    if kind in _SCORED_KEY and len(row["scores"]) != len(row[_SCORED_KEY[kind]]):
        raise UserError(
            where,
            found=f"{len(row['scores'])} scores for {len(row[_SCORED_KEY[kind]])} {_SCORED_KEY[kind]}",
            expected="one for each",
            do=_MAKE_AGAIN,
        )
    return kind


_MAKE_AGAIN = "let the stage write the file again, or fix the row"


def _has_type(value: object, expected: str) -> bool:
    if expected == _TEXT:
        return isinstance(value, str)
    if expected == _NAMED:
        return isinstance(value, dict)
    if not isinstance(value, list):
        return False
    if expected == _TEXTS:
        return all(isinstance(element, str) for element in value)
    return all(map(is_finite_number, value))
