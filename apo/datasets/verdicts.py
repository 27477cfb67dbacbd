"""What a label says about two answers: which one is better, or neither; and what the user says it means."""

import re
from collections.abc import Mapping
from typing import Any

from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.fields import filled, number_of_cell, type_and_value

_NOUN = (
    r"(?:(?:model|response|answer|completion|output|summary|assistant|candidate|option|chatbot|reply|text)"
    r"[ _-]?)?"
)
_ANSWER_NAME = re.compile(_NOUN + r"([ab012])(?:[ _](?:is[ _]better|wins|won))?", re.IGNORECASE)
_RELATION = re.compile(r"([ab012])\s*([<>]{1,3}|=)\s*([ab012])", re.IGNORECASE)  # A>B, A>>B, A=B
_BRACKETS = re.compile(r"\[\[(.*)\]\]")  # [[A]], as a judge writes it
_TIE = re.compile(
    r"tied?([ _(-].*)?|draw|equal(ly.*)?|same|similar|none|null|nan|n/a|no[ _]preference|undecided|unsure"
    r"|(both|neither)([ _-].*)?|(all|both)?[ _]?(are)?[ _]?(bad|good)|(about|roughly)[ _]the[ _]same"
    r"|gleichstand|unentschieden|empate|égalité|ничья|平局|平手|引き分け|무승부",
    re.IGNORECASE,
)
_MODELS = ("model_{}", "model{}", "model_name_{}", "{}_model")  # columns with the name of a model
# What a row calls its two answers: those of the first, those of the second.
AnswerNames = tuple[frozenset[str], frozenset[str]]
NO_NAMES: AnswerNames = (frozenset(), frozenset())


def answer_names(row: Row, answers: tuple[str, str]) -> AnswerNames:
    """What a row calls its two answers: the names of their columns, and of the models that wrote them."""
    first, second = (
        frozenset([answer, *_models_of(row, answer, letter)])
        for answer, letter in zip(answers, "ab", strict=True)
    )
    return first, second


def _models_of(row: Row, answer: str, letter: str) -> list[str]:
    ends = dict.fromkeys((answer[-1], letter, letter.upper()))
    keys = [form.format(end) for form in _MODELS for end in ends]
    values = [row.get(key) for key in (*keys, f"{answer}_model", f"model_{answer}")]
    return [value.strip() for value in values if isinstance(value, str) and value.strip()]


def check_two_answers(row: Row, answers: tuple[str, str], where: str) -> None:
    """Raises RowError if a row has a third answer: `response_2` beside `response_0` and `response_1`."""
    end = {"1": "2", "2": "3", "b": "c", "B": "C"}[answers[1][-1]]
    third = answers[1][:-1] + end
    if filled(row.get(third)):
        raise RowError(
            "other_keys",
            where,
            found=f"a further answer in {third!r}",
            expected=f"two answers, {answers[0]!r} and {answers[1]!r}, and which is better",
            do="write all answers of a row as a list under `responses`, with `scores`, or map the columns of "
            "the two to compare under data.files.columns (data.hub.columns)",
        )


def verdict_of(row: Row, key: str, answers: tuple[str, str], where: str) -> list[float]:
    """The scores of two answers, under the columns `answers`, from the verdict under a key.

    Raises:
        LabelError: The verdict does not say which answer is better.
    """
    ends = (answers[0][-1], answers[1][-1])
    try:
        return verdict_in(row[key], key, ends, where, answer_names(row, answers))
    except LabelError as error:
        raise model_error(row, key, ends, where) or error from None


def verdict_in(
    value: Any, key: str, ends: tuple[str, str], where: str, names: AnswerNames = NO_NAMES
) -> list[float]:
    """The scores of two answers from a verdict: the name of one, its number, or a tie.

    Args:
        value: `model_a`, `A`, `response_1`, `first`, `[[A]]`, `A>B`, `tie`, `both_bad`, the name of a model;
            a number if the answers are numbered; null or blank for no decision, which is a tie.
        ends: The ends of the names of the answers: `("1", "2")`.
        names: What the row calls its answers.

    Raises:
        LabelError: It is none of these.
    """
    if is_undecided(value):
        return [0.0, 0.0]
    label = value.strip() if isinstance(value, str) else ""
    named = [number for number in (0, 1) if label in names[number]]
    standard = _scores_by_end(number_of_cell(value), ends)
    by_name = [float(0 in named), float(1 in named)] if named else standard
    if by_name is None:
        raise LabelError(key, value, ends, where)
    if len(named) == 2 or standard not in (None, by_name):
        raise LabelError(key, value, ends, where, problem="which could name either answer")
    return by_name


def _scores_by_end(value: Any, ends: tuple[str, str]) -> list[float] | None:
    """The scores from the end of an answer's name, its number, or a tie; None for any other value."""
    if isinstance(value, str):
        label = value.strip()
        label = match[1].strip() if (match := _BRACKETS.fullmatch(label)) else label
        if _TIE.fullmatch(label):
            return [0.0, 0.0]
        if match := _RELATION.fullmatch(label):
            return _scores_of_relation(match[1], match[2], match[3], ends)
        match = _ANSWER_NAME.fullmatch(label)
        side = _side(match[1] if match else {"first": "a", "second": "b"}.get(label.lower(), ""), ends)
        return None if side is None else [float(side == 0), float(side == 1)]
    if ends[0].isdecimal() and isinstance(value, int | float) and not isinstance(value, bool):
        low = float(ends[0])
        if low <= value <= low + 1:
            return [low + 1 - float(value), float(value) - low]
    return None


def _scores_of_relation(left: str, sign: str, right: str, ends: tuple[str, str]) -> list[float] | None:
    sides = [_side(left, ends), _side(right, ends)]
    if sorted(sides, key=str) != [0, 1] or len(set(sign)) > 1:
        return None
    if sign == "=":
        return [0.0, 0.0]
    better = sides[0] if sign[0] == ">" else sides[1]
    return [float(better == 0), float(better == 1)]


def _side(end: str, ends: tuple[str, str]) -> int | None:
    """0 for the first answer, 1 for the second, by a letter or by the end of its name."""
    return next((number for number in (0, 1) if end.lower() in ("ab"[number], ends[number].lower())), None)


def is_undecided(value: Any) -> bool:
    """Whether a verdict is null or blank."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def is_tie(value: Any) -> bool:
    """Whether a verdict is null, blank or a word for a tie; `good` and `bad` alone may be labels."""
    text = value.strip().lower() if isinstance(value, str) else ""
    return is_undecided(value) or (text not in ("good", "bad") and bool(_TIE.fullmatch(text)))


class LabelError(RowError):
    """A label, in the column `key`, that does not say which answer is better."""

    def __init__(self, key: str, value: Any, ends: tuple[str, str], where: str, problem: str = "") -> None:
        is_number = isinstance(number_of_cell(value), int | float)
        shown = f"{value!r:.40}" if isinstance(value, int | float) else type_and_value(value)
        super().__init__(
            "unknown_label" if is_number or problem else "bad_score",
            where,
            found=f"{shown} in '{key}'{', ' if problem else ''}{problem} "
            f"for answers that end in {ends[0]!r} and {ends[1]!r}",
            expected="a number of the better one, or its letter, or a tie",
            do="write under data.files.labels (data.hub.labels) what each value means: "
            f"{ends[0]}, {ends[1]} or tie",
        )
        if problem or isinstance(value, list | dict):
            self.do = f"write {ends[0]}, {ends[1]} or tie in the rows"
        self.key = key


def model_error(row: Row, key: str, ends: tuple[str, str], where: str) -> LabelError | None:
    """The error for a label that is the name of a model in its row, for which labels have no meaning."""
    label = row[key]
    is_name = isinstance(label, str) and not is_tie(label) and _scores_by_end(label, ends) is None
    columns = (name for name in row if name != key and "model" in name.lower())
    column = next((name for name in columns if row[name] == label), "") if is_name else ""
    if not column:
        return None
    error = LabelError(key, label, ends, where, problem=f"which is a model, as '{column[:40]}' says,")
    first, second = (f"model_{end}" for end in ends)
    error.do = (
        f"leave it out of the labels, which mean the same in all rows; write {ends[0]}, {ends[1]} or tie in "
        f"the rows, or name the models of the two answers in columns {first} and {second}"
    )
    return error


# What the user says that labels mean ---------------------------------------------------------------


def label_meanings(labels: Mapping[Any, Any], ends: tuple[str, str], where: str) -> dict[str, str]:
    """The meaning of each value of a label, by `label_key`: a, b or tie.

    Raises:
        UserError: A meaning is none of these, or one value has two.
    """
    meanings: dict[str, str] = {}
    allowed = {ends[0].lower(): "a", ends[1].lower(): "b", "a": "a", "b": "b", "tie": "tie"}
    for value, written in labels.items():
        meaning = allowed.get(str(written).strip().lower())
        if meaning is None or meanings.setdefault(label_key(value), meaning) != meaning:
            raise UserError(
                where,
                found=f"{label_text(value)}: {str(written)!r:.40}"
                + (", and another meaning" if meaning else ""),
                expected=f"{ends[0]}, {ends[1]} or tie" + (", one for each value" if meaning else ""),
                do="write which answer the value means, by the end of its name",
            )
    return meanings


def label_text(value: Any) -> str:
    """A label for a message: 1 for 1, 1.0 and '1', true for True."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def label_key(value: Any) -> str:
    """A label as a key for look-ups, the same for 1 and '1.0', True and 'true'."""
    return label_text(number_of_cell(value)).casefold()
