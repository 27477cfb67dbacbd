"""study/markdown.py: how numbers stand in tables and sentences."""

import doctest
import math

from study import markdown
from study.markdown import Number, by_name, columns, numbers, table, verdict_word
from study.statistics import Paired

DECIDED = Paired(10, 0.5, 0.4, 0.1, 0.05, 0.15, 0.002, 0.1)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(markdown).failed == 0


def test_verdict_word_follows_p_and_sign() -> None:
    assert verdict_word(DECIDED) == "higher"
    assert verdict_word(DECIDED._replace(difference=-0.1)) == "lower"
    assert verdict_word(DECIDED._replace(p=0.0501)) == "undecided"


def test_what_was_not_played_says_so() -> None:
    assert f"{Number(None):.3f} {Number(0.5):.3f}" == "not played 0.500"
    assert f"{by_name({'a': DECIDED})['a']:d} {by_name({})['b']:d}" == "+0.100 not played"
    assert f"{numbers({'a': 1.0})['a']:.1f} {numbers({})['b']:.1f}" == "1.0 not played"
    assert table(["a"], []) == "Not played by two seeds yet."


def test_columns_of_too_few_seeds_have_no_interval() -> None:
    assert columns(DECIDED) == ["+0.100 (+0.050 to +0.150)", "0.0020", "10"]
    unbounded = DECIDED._replace(low=-math.inf, high=math.inf, p=0.125, seeds=4)
    assert columns(unbounded) == ["+0.100 (no bound)", "0.125", "4"]
