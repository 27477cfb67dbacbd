"""Near-duplicates: all pairs that comparing everything with everything finds, and no other."""

import random
import time
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.splits.near_duplicates import NearDuplicates, grams_of, near_duplicates_among

THRESHOLDS = [0.1, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 1.0]


def _similarity(one: str, other: str) -> Fraction:
    """By the definition, for texts of three words or more."""
    sets = [{tuple(text.split()[i : i + 3]) for i in range(len(text.split()) - 2)} for text in (one, other)]
    return Fraction(len(sets[0] & sets[1]), len(sets[0] | sets[1]))


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
def test_the_join_is_what_comparing_everything_finds(threshold: float, seed: int) -> None:
    indexed, asked = _texts(seed, 80), _texts(seed, 160)[40:]  # 40 of them are in both
    near = NearDuplicates(indexed, threshold)
    found = {text: near.of(text) for text in asked}
    least = Fraction(str(threshold))
    assert found == {a: [b for b in indexed if _similarity(a, b) >= least] for a in asked}
    if threshold <= 0.9:
        assert any(a != b for a in asked for b in found[a])


SMALL = st.lists(st.sampled_from("ab"), min_size=3, max_size=9).map(" ".join)


@given(st.lists(SMALL, max_size=6), SMALL, st.sampled_from(THRESHOLDS))
def test_the_join_of_texts_with_few_words(indexed: list[str], asked: str, threshold: float) -> None:
    expected = [text for text in indexed if _similarity(asked, text) >= Fraction(str(threshold))]
    assert NearDuplicates(indexed, threshold).of(asked) == expected


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
def test_similarities_by_hand_on_both_sides_of_the_threshold(
    one: str, other: str, similarity: Fraction
) -> None:
    for first, second in ((one, other), (other, one)):
        if similarity:
            assert NearDuplicates([first], float(similarity)).of(second) == [first]
        if similarity < 1:
            assert NearDuplicates([first], float(similarity) + 1e-6).of(second) == []


@pytest.mark.parametrize("threshold", THRESHOLDS)
@given(texts=st.lists(st.text(max_size=12), max_size=8))
def test_every_text_is_near_itself_also_an_empty_one(threshold: float, texts: list[str]) -> None:
    near = NearDuplicates(texts, threshold)
    assert all(text in near.of(text) for text in ["", *texts] if text in texts)


def test_short_texts_are_their_words() -> None:
    assert grams_of("") == grams_of(" ") == {()}
    assert grams_of("hi") == {("hi",)}
    assert grams_of("hi you") == {("hi",), ("you",)}
    assert grams_of("hi you there") == {("hi", "you", "there")}
    near = NearDuplicates(["", "hi", "hi you", "hi you there"], 0.5)
    assert near.of("hi") == ["hi", "hi you"]
    assert near.of("") == [""]


def test_nothing_is_near_nothing() -> None:
    assert NearDuplicates([], 0.5).of("a b c") == []


@pytest.mark.parametrize(
    "text",
    [
        "请用三句话告诉我怎样才能在家里做出一碗好吃的牛肉面",
        "おいしいラーメンのつくりかたをおしえてください",
        "ฉันอยากรู้วิธีทำก๋วยเตี๋ยวที่บ้าน",
    ],
)
def test_scripts_without_white_space_are_read_by_characters(text: str) -> None:
    assert NearDuplicates([text], 0.9).of(text[:-1]) == [text]
    assert NearDuplicates([text], 0.9).of(text[::-1]) == []
    assert len(grams_of(text)) > 15


def test_scripts_with_white_space_are_read_by_words() -> None:
    assert grams_of("как дела сегодня") == {("как", "дела", "сегодня")}
    assert grams_of("안녕하세요 여러분 모두") == {("안녕하세요", "여러분", "모두")}


def test_the_order_of_the_texts_changes_the_order_of_what_is_found_only() -> None:
    texts = list(dict.fromkeys(_texts(7, 60)))
    shuffled = random.Random(1).sample(texts, len(texts))
    near, again = NearDuplicates(texts, 0.6), NearDuplicates(shuffled, 0.6)
    for text in _texts(7, 90):
        assert sorted(near.of(text)) == sorted(again.of(text))
        assert [t for t in texts if t in near.of(text)] == near.of(text)


def test_being_near_goes_both_ways() -> None:
    texts = _texts(3, 50)
    found = {text: NearDuplicates([text], 0.7) for text in texts}
    assert all(bool(found[a].of(b)) == bool(found[b].of(a)) for a, b in product(texts, texts))


PIECES = st.lists(st.lists(st.sampled_from(["a", "b", "c", "吗", "é吗"]), min_size=1, max_size=5), max_size=5)


@given(st.lists(PIECES, max_size=6), PIECES, st.sampled_from(THRESHOLDS), st.lists(st.integers(0, 5)))
def test_what_is_near_a_growing_text_is_what_comparing_everything_finds(
    indexed: list[list[list[str]]], pieces: list[list[str]], threshold: float, asked: list[int]
) -> None:
    """Whatever was asked before."""
    texts = [" ".join(word for piece in text for word in piece) for text in indexed]
    texts.append(" ".join(word for piece in pieces[:-1] for word in piece))
    near = NearDuplicates(texts, threshold)
    beginnings = [" ".join(word for piece in pieces[: n + 1] for word in piece) for n in range(len(pieces))]
    for place in asked:
        near.of(beginnings[place % len(pieces)] if pieces else "")

    def jaccard(one: str, other: str) -> Fraction:
        sets = grams_of(one), grams_of(other)
        return Fraction(len(sets[0] & sets[1]), len(sets[0] | sets[1]))

    least = Fraction(str(threshold))
    expected = [(own, [text for text in texts if jaccard(own, text) >= least]) for own in beginnings]
    assert list(near.along(pieces)) == [(own, found) for own, found in expected if found]
    assert [(own, near.of(own)) for own in beginnings] == expected


def test_an_index_is_shared_where_it_holds_all_the_texts_at_the_same_threshold() -> None:
    first = near_duplicates_among(["a b c d", "e f g h"], 0.9)
    assert near_duplicates_among(["e f g h"], 0.9) is first
    assert near_duplicates_among(["e f g h"], 0.8) is not first
    assert near_duplicates_among(["e f g h", "i"], 0.8).of("i") == ["i"]


def test_a_long_dialogue_takes_time_in_proportion() -> None:
    """Of 20,000 turns, half of which are elsewhere, too, in fives."""
    turns = [[f"w{n}", f"w{n + 1}", "so", "assistant"] for n in range(20_000)]
    near = NearDuplicates([" ".join(map(" ".join, turns[n : n + 5])) for n in range(0, 10_000, 5)], 0.9)
    start = time.process_time()
    assert [len(own.split()) for own, _ in near.along(turns)] == [20]
    assert time.process_time() - start < 2
