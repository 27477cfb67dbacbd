"""Flags that mark an answer as wanted or unwanted, as in unpaired preferences (KTO)."""

from typing import Any

from apo.core.records import Row

FLAGS = frozenset(
    [
        "label",
        "labels",
        "kto_tag",
        "kto_label",
        "is_chosen",
        "chosen",
        "is_preferred",
        "preferred",
        "preference",
        "desirable",
        "is_desirable",
        "is_good",
        "good",
        "accepted",
        "is_accepted",
        "approved",
        "is_correct",
        "correct",
        "positive",
        "thumbs",
        "thumbs_up",
        "feedback",
        "is_safe",
        "safe",
        "verdict",
        "like",
        "liked",
    ]
)
_INVERTED = frozenset(
    ["is_rejected", "undesirable", "is_bad", "thumbs_down", "disliked", "unsafe", "is_harmful"]
)
_UNWANTED = frozenset(
    [
        "false",
        "no",
        "n",
        "f",
        "bad",
        "rejected",
        "reject",
        "undesirable",
        "undesired",
        "negative",
        "dislike",
        "disliked",
        "thumbs_down",
        "down",
        "unsafe",
        "incorrect",
        "wrong",
        "unpreferred",
    ]
)


def unwanted_flag(row: Row) -> str:
    """The flag of a row that marks its answer as unwanted, with its value; "" if there is none."""
    for key, value in row.items():
        name = key.strip().lower().replace("-", "_").replace(" ", "_")
        if name in FLAGS and _is_no(value) and (name != "chosen" or isinstance(value, bool)):
            return f"{key[:40]}: {value!r:.40}"
        if name in _INVERTED and _is_yes(value):
            return f"{key[:40]}: {value!r:.40}"
    return ""


def flags_in(row: Row) -> list[str]:
    """The keys of a row that are flags of its one answer."""
    return [key for key in row if key.strip().lower() in FLAGS | _INVERTED]


def _is_no(value: Any) -> bool:
    if isinstance(value, str):
        text = value.strip().lower().replace(" ", "_").replace("-", "_")
        return text in _UNWANTED or value.strip() in ("0", "-1", "0.0", "-1.0")
    return isinstance(value, bool | int | float) and value in (0, -1)


def _is_yes(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes", "y", "t")
    return isinstance(value, bool | int | float) and value == 1
