"""Rows of no format for a reason that can be told: one answer alone, a message of a tree, a wrapper."""

from apo.core.errors import UserError
from apo.core.records import Row

_ANSWERS = ("completion", "response", "output", "answer", "summary", "transcript")
_ABOUT_ONE = ("label", "is_safe", "helpfulness", "score", "scores", "rating", "reward", "summary")
_OUR_KEYS = (
    "prompt",
    "chosen",
    "rejected",
    "question",
    "instruction",
    "query",
    "responses",
    "golden",
    "winner",
)


def explain_unsupported(row: Row, where: str) -> UserError | None:
    """What a row of no format is, where that is known."""
    if {"message_id", "parent_id", "text", "role"} <= row.keys() or "message_tree_id" in row:
        return UserError(
            where,
            found="a tree of messages, or one message of it",
            expected="rows that hold what is compared: a prompt with its answers",
            do="write the answers to a message in one row: {prompt: messages, answers: [{text, rank}, ...]}",
        )
    wrapper = next((key for key in row if len(row) <= 5 and _is_rows(row[key])), None)
    if wrapper is not None:
        return UserError(
            where,
            found=f"one object with all rows under {wrapper[:40]!r}",
            expected="the rows themselves: a list of objects, or one object a line",
            do=f"write what stands under {wrapper[:40]!r} into a file of its own",
        )
    renamed = {key: key.strip().lower() for key in row if key.strip().lower() in _OUR_KEYS}
    if any(key != ours for key, ours in renamed.items()):
        key, ours = next((key, ours) for key, ours in renamed.items() if key != ours)
        return UserError(
            where,
            found=f"a key {key[:40]!r}",
            expected=f"{ours!r}: keys are compared letter by letter",
            do="rename it, or map the columns under data.files.columns (data.hub.columns): "
            f"`{ours}: {key[:40]!r}`",
        )
    answers = [key for key in _ANSWERS if key in row]
    about = [key for key in _ABOUT_ONE if key in row and key not in answers[:1]]
    if len(answers) == 1 and about:
        return UserError(
            where,
            found=f"one answer ({answers[0]}) and what is said about it alone ({', '.join(about)})",
            expected="two or more answers to a prompt and which is better: rows that stand alone are no "
            "comparisons (unpaired preferences, as KTO takes them)",
            do="bring a set of comparisons; rows with a prompt and a wanted answer can be named under "
            "data.files.demonstrations",
        )
    return None


def _is_rows(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and not {"role", "from"} & one.keys() for one in value[:3])
    )
