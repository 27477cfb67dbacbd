"""Rows that name the better answer by its column: chosen and rejected; and rows with one wanted answer."""

from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.context import answers_to, conversation_of, prompted
from apo.datasets.fields import number_of_cell, text_in, texts_in, whole_dialogue
from apo.datasets.parsed import Names, Parse, ParsedRow, of_pairs


def pair(first: Row, names: Names) -> Parse:
    """A prompt with a chosen and a rejected answer: texts, messages, or a list of texts for each side."""
    sides = (names["chosen"], names["rejected"])
    grades = _grades_beside(first, sides)
    if any(_is_list_of_texts(first[side]) for side in sides):
        parse = _of_lists(sides, names)
    elif isinstance(first[sides[0]], list | dict):

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return of_pairs([conversation_of(row, side, where, counts, names) for side in sides], [1.0, 0.0])

    else:

        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            return prompted(row, sides, [1.0, 0.0], where, counts, names)

    def counted(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        found = parse(row, where, counts)
        _compare_grades(row, grades, counts)
        return found

    return counted if grades else parse


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _of_lists(sides: tuple[str, str], names: Names) -> Parse:
    """Several answers chosen, several rejected: each of the first is better than each of the second."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [texts_in({side: _listed(row[side])}, side, where) for side in sides]
        scores = [1.0] * len(texts[0]) + [0.0] * len(texts[1])
        return answers_to(row, [*texts[0], *texts[1]], scores, where, counts, names)

    return parse


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _grades_beside(first: Row, sides: tuple[str, str]) -> tuple[str, str] | None:
    """Keys of the grades that chosen and rejected were given, such as score_chosen and score_rejected."""
    forms = [form for word in ("score", "rating", "avg_rating") for form in (f"{word}_{{}}", f"{{}}_{word}")]
    forms += [form.replace("_", "-") for form in forms]
    for form in forms:
        keys = (form.format("chosen"), form.format("rejected"))
        if first.keys() >= {*keys} and not {*keys} & {*sides}:
            return keys
    return None


def _compare_grades(row: Row, grades: tuple[str, str] | None, counts: Counter[str]) -> None:
    """Counts pairs whose grades say nothing, or the opposite; the pair stays as it is given."""
    chosen, rejected = (number_of_cell(row.get(key)) for key in grades or ("", ""))
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (chosen, rejected)):
        counts["pairs_graded_alike"] += chosen == rejected
        counts["pairs_graded_the_other_way"] += chosen < rejected


def whole_pair(first: Row, names: Names) -> Parse:
    """A chosen and a rejected dialogue, whole."""
    if isinstance(first["chosen"], list | dict):
        return pair(first, names)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        texts = [text_in(row[side], side, where) for side in ("chosen", "rejected")]
        return of_pairs([whole_dialogue(text, where) for text in texts], [1.0, 0.0])

    return parse


def demonstration(first: Row, names: Names) -> Parse:
    """A prompt and its answer, as texts or as messages."""
    key = names["answer"]
    talks = isinstance(first[key], list | dict)

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        if talks:
            return of_pairs([conversation_of(row, key, where, counts, names)], [])
        return prompted(row, (key,), [], where, counts, names)

    return parse


def conversation(key: str, names: Names) -> Parse:
    """A conversation whose last message is the answer."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        return of_pairs([conversation_of(row, key, where, counts, names)], [])

    return parse
