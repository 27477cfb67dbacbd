"""study/weights.py: the weight of a pair by hand."""

import doctest

import pytest

from study import weights
from study.weights import random_steps, relative_weight


def test_the_docstring_example() -> None:
    assert doctest.testmod(weights) == (0, 1)


def test_relative_weight_is_one_where_every_step_has_both_in_proportion() -> None:
    pairs, kinds = [1, 1, 4, 1, 1, 4], [False, False, True] * 2
    assert relative_weight([[0, 1, 2], [3, 4, 5]], pairs, kinds) == pytest.approx(1.0)
    assert relative_weight([[0, 1, 3, 4], [2, 5]], pairs, kinds) == pytest.approx(0.5)  # 1/4 and 1/8 a pair


def test_random_steps_have_every_item_once() -> None:
    steps = next(random_steps(7, 3))
    assert sorted(i for step in steps for i in step) == list(range(7))
    assert [len(step) for step in steps] == [3, 3, 1]
