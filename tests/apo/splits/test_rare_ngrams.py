"""apo/splits/rare_ngrams.py: the texts that share an indexed 3-gram with a text or its prefixes."""

import pytest

from apo.splits.rare_ngrams import RareNgramIndex

TEXTS = [text.split() for text in ("so we go on a b c", "so we go on d e f", "so we go on", "x", "")]


def candidates(text: str, size: int, *prefix_lengths: int) -> list[int]:
    """The candidates for a text in an index of `size` grams per text."""
    words = text.split()
    index = RareNgramIndex(lambda: TEXTS, [size] * len(TEXTS))
    return index.candidates(words, [*prefix_lengths, len(words)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("then a b c", [0]),
        ("d e f and a b c", [0, 1]),
        ("so we go", [0, 1, 2]),
        ("nothing of these", []),
        ("x", [3]),
        ("", [4]),
    ],
)
def test_candidates_share_an_indexed_gram(text: str, expected: list[int]) -> None:
    assert candidates(text, 9) == expected
    assert set(candidates(text, 1)) <= set(expected)


def test_candidates_include_an_equal_text_even_if_one_gram_is_indexed() -> None:
    for index, words in enumerate(TEXTS):
        assert index in candidates(" ".join(words), 1)


def test_candidates_of_a_short_prefix() -> None:
    assert candidates("x a b c", 9) == [0]
    assert candidates("x a b c", 9, 1) == [0, 3]
