"""apo/demo/knowledge.py: the tables are consistent."""

import doctest

from apo.demo import knowledge
from apo.demo.knowledge import DAYS, NUMBERS, RELATIONS


def test_the_docstring_examples() -> None:
    assert doctest.testmod(knowledge) == (0, 2)


def test_relations_have_inverse_opposites_and_cycles() -> None:
    opposite = RELATIONS["opposite"].table
    assert all(opposite[opposite[word]] == word for word in opposite)
    after, before = RELATIONS["day after"].table, RELATIONS["day before"].table
    assert all(before[after[day]] == day for day in DAYS)
    assert after["Sunday"] == "Monday" and NUMBERS[20] == "twenty"
