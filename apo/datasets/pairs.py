"""Rows with a chosen and a rejected answer, and rows with one answer to learn from."""

from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.context import answers_to, conversation_of, prompted
from apo.datasets.fields import is_list_of_texts, number_of_cell, text_in, texts_in, whole_dialogue
from apo.datasets.parsed import Names, Parse, ParsedRow, of_pairs


def pair(first: Row, names: Names) -> Parse:
    """A prompt with a chosen and a rejected answer: texts, messages, or a list of texts for each side."""
    keys = (names["chosen"], names["rejected"])
    grades = _grade_columns(first, keys)
    if any(is_list_of_texts(first[key]) for key in keys):
        parse = _list_pair(keys, names)
    elif isinstance(first[keys[0]], list | dict):

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return of_pairs([conversation_of(row, key, where, counts, names) for key in keys], [1.0, 0.0])

    else:

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return prompted(row, keys, [1.0, 0.0], where, counts, names)

    def counted(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        parsed = parse(row, where, counts)
        _compare_grades(row, grades, counts)
        return parsed

    return counted if grades else parse


def _list_pair(keys: tuple[str, str], names: Names) -> Parse:
    """Several chosen and several rejected answers: each chosen one is better than each rejected one."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [texts_in({key: _as_list(row[key])}, key, where) for key in keys]
        scores = [1.0] * len(texts[0]) + [0.0] * len(texts[1])
        return answers_to(row, [*texts[0], *texts[1]], scores, where, counts, names)

    return parse


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _grade_columns(first: Row, answers: tuple[str, str]) -> tuple[str, str] | None:
    """Keys of the grades that chosen and rejected were given, such as score_chosen and score_rejected."""
    forms = [form for word in ("score", "rating", "avg_rating") for form in (f"{word}_{{}}", f"{{}}_{word}")]
    forms += [form.replace("_", "-") for form in forms]
    for form in forms:
        keys = (form.format("chosen"), form.format("rejected"))
        if first.keys() >= {*keys} and not {*keys} & {*answers}:
            return keys
    return None


def _compare_grades(row: Row, grades: tuple[str, str] | None, counts: Counter[str]) -> None:
    """Counts pairs whose grades are equal, or in the opposite order; the pair stays as it is."""
    chosen, rejected = (number_of_cell(row.get(key)) for key in grades or ("", ""))
    if all(isinstance(grade, int | float) and not isinstance(grade, bool) for grade in (chosen, rejected)):
        counts["pairs_graded_alike"] += chosen == rejected
        counts["pairs_graded_the_other_way"] += chosen < rejected


def whole_pair(first: Row, names: Names) -> Parse:
    """A chosen and a rejected dialogue, each with its prompt."""
    if isinstance(first["chosen"], list | dict):
        return pair(first, names)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [text_in(row[key], key, where) for key in ("chosen", "rejected")]
        return of_pairs([whole_dialogue(text, where) for text in texts], [1.0, 0.0])

    return parse


def demonstration(first: Row, names: Names) -> Parse:
    """A prompt and its answer, as texts or as messages."""
    key = names["answer"]
    is_conversation = isinstance(first[key], list | dict)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        if is_conversation:
            return of_pairs([conversation_of(row, key, where, counts, names)], [])
        return prompted(row, (key,), [], where, counts, names)

    return parse


def conversation(key: str, names: Names) -> Parse:
    """A conversation whose last message is the answer."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        return of_pairs([conversation_of(row, key, where, counts, names)], [])

    return parse
