"""What a record holds, whatever its kind: what the other formats are made of."""

from math import isfinite

from apo.core.errors import UserError
from apo.core.records import Row


class UnfitError(UserError):
    """A record of the right kind that holds what a format has no place for."""


_TEXT, _TEXTS, _NUMBERS, _NAMED = "a text", "a list of texts", "a list of finite numbers", "an object by name"
_KINDS: dict[str, dict[str, str]] = {  # told from the keys, the first that fits
    "comparison": {"query_id": _TEXT, "query": _TEXT, "responses": _TEXTS, "scores": _NUMBERS},
    "selection": {"query_id": _TEXT, "query": _TEXT, "target": _TEXT, "samples": _TEXTS, "scores": _NUMBERS},
    "golden": {"query_id": _TEXT, "query": _TEXT, "golden": _TEXT},
    "samples": {"query_id": _TEXT, "query": _TEXT, "samples": _TEXTS},
    "demonstration": {"query_id": _TEXT, "query": _TEXT, "response": _TEXT},
    "scores": {"query_id": _TEXT, "scores": _NUMBERS},
}
_OPTIONAL = {"type": _TEXT, "extra": _NAMED, "source_rewards": _NUMBERS, "made_by": _TEXT}
_LONG_AS = {"comparison": "responses", "selection": "samples"}


def kind_of(row: Row, *, where: str) -> str:
    """comparison (an APO item is one), selection, golden, samples, demonstration or scores.

    Raises:
        UserError: The keys are those of no kind, or a value is of another type.
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
        if key in row and not _is(row[key], expected):
            raise UserError(where, found=f"{row[key]!r:.60} under {key!r}", expected=expected, do=_MAKE_AGAIN)
    if kind in _LONG_AS and len(row["scores"]) != len(row[_LONG_AS[kind]]):
        raise UserError(
            where,
            found=f"{len(row['scores'])} scores for {len(row[_LONG_AS[kind]])} {_LONG_AS[kind]}",
            expected="one for each",
            do=_MAKE_AGAIN,
        )
    return kind


_MAKE_AGAIN = "let the stage write the file again, or fix the row"


def _is(value: object, expected: str) -> bool:
    if expected == _TEXT:
        return isinstance(value, str)
    if expected == _NAMED:
        return isinstance(value, dict)
    if not isinstance(value, list):
        return False
    if expected == _TEXTS:
        return all(isinstance(one, str) for one in value)
    return all(isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one) for one in value)
