"""apo/splits/near_duplicates.py: exactly the pairs that a comparison of all pairs finds."""

import doctest
import functools
import random
import time
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.splits import near_duplicates
from apo.splits.near_duplicates import NearDuplicateIndex, near_duplicate_index, word_ngrams

THRESHOLDS = [0.1, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 1.0]


def test_the_docstring_examples() -> None:
    assert doctest.testmod(near_duplicates) == (0, 4)


@functools.cache
def _ngrams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def _similarity(first: str, second: str) -> Fraction:
    """By the definition, for texts of three words or more."""
    one, other = _ngrams(first), _ngrams(second)
    return Fraction(len(one & other), len(one | other))


def _texts(seed: int, size: int) -> list[str]:
    """Random texts of 3 to 40 words, common and rare ones, and changed copies of some."""
    rng = random.Random(seed)
    words = [f"w{n}" for n in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    texts: list[list[str]] = []
    for _ in range(size):
        if texts and rng.random() < 0.6:
            text = list(rng.choice(texts))
            for _ in range(rng.randint(0, 2)):
                where = rng.randrange(len(text))
                text[where : where + rng.randint(0, 1)] = rng.choices(words, k=rng.randint(0, 1))
            text += rng.choices(words, k=max(0, 3 - len(text)))
        else:
            text = rng.choices(words, weights, k=rng.randint(3, 40))
        texts.append(text)
    return [" ".join(text) for text in texts]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("seed", range(3))
def test_find_agrees_with_a_comparison_of_all_pairs(threshold: float, seed: int) -> None:
    indexed, searched = _texts(seed, 80), _texts(seed, 160)[40:]  # 40 of them are in both
    near = NearDuplicateIndex(indexed, threshold)
    matches = {text: near.find(text) for text in searched}
    least = Fraction(str(threshold))
    assert matches == {a: [b for b in indexed if _similarity(a, b) >= least] for a in searched}
    if threshold <= 0.9:
        assert any(a != b for a in searched for b in matches[a])


SMALL = st.lists(st.sampled_from("ab"), min_size=3, max_size=9).map(" ".join)


@given(st.lists(SMALL, max_size=6), SMALL, st.sampled_from(THRESHOLDS))
def test_find_agrees_on_texts_with_few_words(indexed: list[str], asked: str, threshold: float) -> None:
    expected = [text for text in indexed if _similarity(asked, text) >= Fraction(str(threshold))]
    assert NearDuplicateIndex(indexed, threshold).find(asked) == expected


def _words(number: int, **changed: str) -> str:
    return " ".join(changed.get(f"w{n}", f"w{n}") for n in range(number))


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        (_words(12), _words(11), Fraction(9, 10)),  # the last word is one of ten 3-grams
        (_words(21), _words(21, w20="x"), Fraction(18, 20)),  # another last word: one of 19 on both sides
        (_words(59), _words(59, w30="x"), Fraction(54, 60)),  # a word in the middle: three of 57
        (_words(58), _words(58, w30="x"), Fraction(53, 59)),
        ("a b c d", "d c b a", Fraction(0)),
        ("a a a", "a a a a", Fraction(1)),  # sets: how often does not count
    ],
)
def test_find_by_hand_on_both_sides_of_the_threshold(one: str, other: str, similarity: Fraction) -> None:
    for first, second in ((one, other), (other, one)):
        if similarity:
            assert NearDuplicateIndex([first], float(similarity)).find(second) == [first]
        if similarity < 1:
            assert NearDuplicateIndex([first], float(similarity) + 1e-6).find(second) == []


@given(threshold=st.sampled_from(THRESHOLDS), texts=st.lists(st.text(max_size=12), max_size=8))
def test_find_includes_the_text_itself_even_if_empty(threshold: float, texts: list[str]) -> None:
    near = NearDuplicateIndex(texts, threshold)
    assert all(text in near.find(text) for text in ["", *texts] if text in texts)


def test_word_ngrams_of_short_texts_are_their_words() -> None:
    assert word_ngrams("") == word_ngrams(" ") == {()}
    assert word_ngrams("hi") == {("hi",)}
    assert word_ngrams("hi you") == {("hi",), ("you",)}
    assert word_ngrams("hi you there") == {("hi", "you", "there")}
    near = NearDuplicateIndex(["", "hi", "hi you", "hi you there"], 0.5)
    assert near.find("hi") == ["hi", "hi you"]
    assert near.find("") == [""]


def test_find_in_an_empty_index() -> None:
    assert NearDuplicateIndex([], 0.5).find("a b c") == []


@pytest.mark.parametrize(
    "text",
    [
        "请用三句话告诉我怎样才能在家里做出一碗好吃的牛肉面",
        "おいしいラーメンのつくりかたをおしえてください",
        "ฉันอยากรู้วิธีทำก๋วยเตี๋ยวที่บ้าน",
    ],
)
def test_word_ngrams_of_scripts_without_white_space_are_characters(text: str) -> None:
    assert NearDuplicateIndex([text], 0.9).find(text[:-1]) == [text]
    assert NearDuplicateIndex([text], 0.9).find(text[::-1]) == []
    assert len(word_ngrams(text)) > 15


def test_word_ngrams_of_other_scripts_are_words() -> None:
    assert word_ngrams("как дела сегодня") == {("как", "дела", "сегодня")}
    assert word_ngrams("안녕하세요 여러분 모두") == {("안녕하세요", "여러분", "모두")}


def test_find_returns_matches_in_the_order_of_the_index() -> None:
    texts = list(dict.fromkeys(_texts(7, 60)))
    shuffled = random.Random(1).sample(texts, len(texts))
    near, again = NearDuplicateIndex(texts, 0.6), NearDuplicateIndex(shuffled, 0.6)
    for text in _texts(7, 90):
        assert sorted(near.find(text)) == sorted(again.find(text))
        assert [t for t in texts if t in near.find(text)] == near.find(text)


def test_find_is_symmetric() -> None:
    texts = _texts(3, 50)
    indices = {text: NearDuplicateIndex([text], 0.7) for text in texts}
    assert all(bool(indices[a].find(b)) == bool(indices[b].find(a)) for a, b in product(texts, texts))


SEGMENTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "吗", "é吗"]), min_size=1, max_size=5), max_size=5
)


@given(st.lists(SEGMENTS, max_size=6), SEGMENTS, st.sampled_from(THRESHOLDS), st.lists(st.integers(0, 5)))
def test_find_in_prefixes_agrees_with_a_comparison_of_all_pairs(
    indexed: list[list[list[str]]], segments: list[list[str]], threshold: float, searches: list[int]
) -> None:
    """Regardless of earlier searches."""
    texts = [" ".join(word for segment in text for word in segment) for text in indexed]
    texts.append(" ".join(word for segment in segments[:-1] for word in segment))
    near = NearDuplicateIndex(texts, threshold)
    prefixes = [
        " ".join(word for segment in segments[: n + 1] for word in segment) for n in range(len(segments))
    ]
    for index in searches:
        near.find(prefixes[index % len(segments)] if segments else "")

    def jaccard(first: str, second: str) -> Fraction:
        sets = word_ngrams(first), word_ngrams(second)
        return Fraction(len(sets[0] & sets[1]), len(sets[0] | sets[1]))

    least = Fraction(str(threshold))
    expected = [(prefix, [t for t in texts if jaccard(prefix, t) >= least]) for prefix in prefixes]
    assert list(near.find_in_prefixes(segments)) == [
        (prefix, matches) for prefix, matches in expected if matches
    ]
    assert [(prefix, near.find(prefix)) for prefix in prefixes] == expected


def test_near_duplicate_index_is_shared_if_it_covers_texts_and_threshold() -> None:
    first = near_duplicate_index(["a b c d", "e f g h"], 0.9)
    assert near_duplicate_index(["e f g h"], 0.9) is first
    assert near_duplicate_index(["e f g h"], 0.8) is not first
    assert near_duplicate_index(["e f g h", "i"], 0.8).find("i") == ["i"]


def test_find_in_prefixes_takes_linear_time() -> None:
    """20,000 turns, half of which are in the index, five per text."""
    turns = [[f"w{n}", f"w{n + 1}", "so", "assistant"] for n in range(20_000)]
    near = NearDuplicateIndex([" ".join(map(" ".join, turns[n : n + 5])) for n in range(0, 10_000, 5)], 0.9)
    start = time.process_time()
    assert [len(prefix.split()) for prefix, _ in near.find_in_prefixes(turns)] == [20]
    assert time.process_time() - start < 2
