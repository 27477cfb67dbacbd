"""Explains rows of no supported format: unpaired answers, wrappers, lists that are unknown or unrated."""

from collections.abc import Callable
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.columns import PROMPTS
from apo.datasets.fields import is_list_of_texts
from apo.datasets.flags import flags_in
from apo.datasets.messages import is_message, unrated_advice

_ANSWERS = (
    *("completion", "response", "output", "answer", "summary", "transcript"),
    *("messages", "conversations"),
)
_JUDGEMENTS = ("label", "is_safe", "helpfulness", "score", "scores", "rating", "reward", "summary")
_OUR_KEYS = (
    *("prompt", "chosen", "rejected", "question", "instruction", "query"),
    *("responses", "golden", "winner"),
)


def explain_unsupported(row: Row, where: str, *, is_known: Callable[[Row], bool]) -> UserError | None:
    """The error for a row of no supported format; None if the reason is unknown.

    `is_known` says whether a row has the keys of a supported format.
    """
    return (
        _wrapper(row, where, is_known)
        or _misspelled_key(row, where)
        or _single_answer(row, where)
        or _unknown_list(row, where)
        or _unrated_answers(row, where)
    )


def _wrapper(row: Row, where: str, is_known: Callable[[Row], bool]) -> UserError | None:
    """One object that holds the rows of the whole file, in one list or in several."""
    keys = [key[:40] for key in row if _is_rows(row[key]) and is_known(row[key][0])]
    prompt = next((key for key in PROMPTS if key in row), "")
    if not keys:
        return None
    if prompt:
        return UserError(
            where,
            found=f"a {prompt} with a list of rows under {keys[0]!r}",
            expected="one row for each comparison, each with its prompt",
            do="write each into a row of its own, for instance with "
            f"`jq -c '{{{prompt}}} + (.[\"{keys[0]}\"][])' FILE > rows.jsonl`",
        )
    others = "" if len(keys) == 1 else " (and each of the others)"
    return UserError(
        where,
        found=f"one object with all rows under {' and '.join(map(repr, keys[:8]))}",
        expected="the rows themselves: a list of objects, or one object a line",
        do=f"write what is under {keys[0]!r}{others} into a file of its own, for instance with "
        f"`jq -c '.[\"{keys[0]}\"][]' FILE > rows.jsonl`",
    )


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value[:3])


def _misspelled_key(row: Row, where: str) -> UserError | None:
    """Known keys with capital letters or white space."""
    key = next((key for key in row if key not in _OUR_KEYS and key.strip().lower() in _OUR_KEYS), None)
    if key is None:
        return None
    correct = key.strip().lower()
    return UserError(
        where,
        found=f"a key {key[:40]!r}",
        expected=f"{correct!r}: keys are compared letter by letter",
        do="rename it, or map the columns under data.files.columns.KIND (data.hub.columns): "
        f"`{correct}: {key[:40]!r}`",
    )


def _single_answer(row: Row, where: str) -> UserError | None:
    """An unpaired preference."""
    answers = [key for key in _ANSWERS if key in row]
    flags = {*_JUDGEMENTS, *flags_in(row)}
    judgements = [key for key in row if key in flags and key not in answers[:1]]
    if len(answers) != 1 or not judgements:
        return None
    names = ", ".join(key[:40] for key in judgements[:8])
    return UserError(
        where,
        found=f"one answer ({answers[0]}) and what is said about it alone ({names})",
        expected="two or more answers to a prompt and which is better: rows that stand alone are no "
        "comparisons (unpaired preferences, as KTO takes them)",
        do="bring a set of comparisons; rows with a prompt and a wanted answer can be named under "
        "data.files.demonstrations, where rows flagged as unwanted are left out with "
        "data.on_issue.unwanted_answer: drop",
    )


def _unknown_list(row: Row, where: str) -> UserError | None:
    """A list of records under a key that no format has."""
    key = next((key for key in row if _is_rows(row[key]) and not is_message(row[key][0])), None)
    if key is None:
        return None
    fields = ", ".join(sorted(str(name)[:40] for name in row[key][0])[:8])
    return UserError(
        where,
        found=f"a row with a list of objects ({fields}) under {key[:40]!r}",
        expected="a prompt, and under `answers` a list with a text (answer, text or response) and a grade "
        "(rank, score, pm_score or overall_score) for each",
        do="write the rows in that form; of two answers, map paths such as "
        f"`response_0: {key[:40]}.0.FIELD` under data.files.columns.comparisons (data.hub.columns)",
    )


def _unrated_answers(row: Row, where: str) -> UserError | None:
    """A list of answers without scores."""
    keys = (*_ANSWERS, "responses", "answers", "outputs", "completions", "candidates")
    key = next((key for key in keys if is_list_of_texts(row.get(key)) and len(row[key]) > 1), None)
    if key is None or "score" in row or "scores" in row:
        return None
    return UserError(
        where,
        found=f"a list of {len(row[key])} texts under {key!r}, and no score or rank",
        expected="answers to a prompt and which is better, such as `responses` with `scores`; as samples, "
        "`query` and `samples`",
        do=unrated_advice(key),
    )
