"""apo/demo/language.py: templates, words and sentences."""

import doctest

from apo.demo import language
from apo.demo.language import count_sentences, mentioned, slot_names, template_pattern, word_line, words


def test_the_docstring_examples() -> None:
    assert doctest.testmod(language) == (0, 2)


def test_template_pattern_needs_the_same_text_in_a_repeated_slot() -> None:
    pattern = template_pattern("{name} has {a} {things}. How many {things}?")
    assert pattern.fullmatch("Tom has two pens. How many pens?")
    assert not pattern.fullmatch("Tom has two pens. How many books?")
    assert slot_names("{a} and {b}") == ["a", "b"]


def test_mentioned_finds_whole_words_only() -> None:
    line = word_line("It is one hundred, not a SKIRT!")
    assert mentioned(line, ("one hundred", "one", "skirt", "shirt", "not a")) == {
        "one hundred",
        "skirt",
        "not a",
    }


def test_words_and_sentences() -> None:
    assert words("Well: 24 pens & 3.5%") == ["well", "twenty-four", "pens", "&", "three", "five", "%"]
    assert [count_sentences(text) for text in ("", "One", "One. Two", "Really?! Yes...")] == [0, 1, 2, 2]
