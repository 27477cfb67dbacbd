"""Which texts are nearly the same: an exact join, in which nothing is left to chance.

A text is the set of its word 3-grams. Two texts are near-duplicates where the Jaccard similarity of their
sets, |A and B| / |A or B|, is at least a threshold t. Since |A or B| >= |B|, they share ceil(t |B|) grams or
more; so of any |B| - ceil(t |B|) + 1 grams of B one is in A. Those are the anchors of B: only a text that
holds one of them is compared with B (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006). They are the
rarest of its grams, so that few texts do.
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from math import ceil, floor

Gram = tuple[str, ...]

# Thai to Tibetan, Burmese, Khmer, kana, Chinese: no white space between words, so each character is one.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)
GRAMS_KEPT = 4096  # texts whose grams are kept once they were compared
_ROUNDING = 1e-9  # t |A| may come out a little above a whole number; what is compared is decided exactly


def grams_of(text: str) -> set[Gram]:
    """The word 3-grams of a text; of a shorter one its words, of an empty one the empty gram.

    >>> sorted(grams_of("how are you now"))
    [('are', 'you', 'now'), ('how', 'are', 'you')]
    """
    return _grams_in(_words_of(text))


def _words_of(text: str) -> list[str]:
    return (text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)).split()


def _grams_in(words: list[str]) -> set[Gram]:
    return set(_threes(words)) or {(word,) for word in words} or {()}


def _threes(words: list[str]) -> Iterator[Gram]:
    return zip(words, words[1:], words[2:])  # noqa: B905 - they end with the shortest


class NearDuplicates:
    """Texts among which those near to another one are found.

    Memory is the texts, and 12 bytes for each anchor and some more for a filter before them: anchors are
    found by a number of 64 bits made of their words, and texts that share one are compared by their words.
    So two grams with one number cost time, never a wrong answer.

    Args:
        texts: Normalised: what does not count is gone.
        threshold: Least Jaccard similarity, above 0 to 1; at 1 the sets have to be equal.
    """

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        from apo.splits.rare_ngrams import Anchors

        assert 0 < threshold <= 1, threshold
        self._threshold = threshold
        self._texts = list(texts)
        self._grams = lru_cache(maxsize=GRAMS_KEPT)(lambda index: grams_of(self._texts[index]))
        sizes = [len(grams_of(text)) for text in self._texts]
        # A near-duplicate shares so many grams with a text, and has so many at most.
        self._least = array("i", (ceil(threshold * size - _ROUNDING) for size in sizes))
        self._most = array("i", (floor(size / threshold + _ROUNDING) for size in sizes))
        wanted = [size - least + 1 for size, least in zip(sizes, self._least, strict=True)]
        self._anchors = Anchors(lambda: map(_words_of, self._texts), wanted)

    def holds(self, texts: Iterable[str], threshold: float) -> bool:
        """Whether all of these texts are in it, at this threshold."""
        return threshold == self._threshold and set(self._texts).issuperset(texts)

    def of(self, text: str) -> list[str]:
        """The texts that are near-duplicates of this one, in their order; one that is equal is among them.

        >>> NearDuplicates(["a b c d", "a b c e", "a b c"], 0.5).of("a b c d")
        ['a b c d', 'a b c']
        """
        words = _words_of(text)
        return next((near for _, near in self._near_beginnings(words, [len(words)])), [])

    def along(self, pieces: Iterable[list[str]]) -> Iterator[tuple[str, list[str]]]:
        """For a text that grows by pieces: each time that texts are near it, its words so far and they.

        >>> list(NearDuplicates(["a b c d", "a b c e"], 0.9).along([["a", "b"], ["c", "d"], ["e"]]))
        [('a b c d', ['a b c d'])]
        """
        words: list[str] = []
        said: list[str] = []
        ends: list[int] = []
        for piece in pieces:
            text = " ".join(piece)
            said.append(text)
            words += piece if text.isascii() else _words_of(text)
            ends.append(len(words))
        for number, near in self._near_beginnings(words, ends):
            yield " ".join(said[: number + 1]), near

    def _near_beginnings(self, words: list[str], ends: list[int]) -> Iterator[tuple[int, list[str]]]:
        """Which beginnings of a text are near some of the texts: their place among the ends, and those texts.

        Args:
            words: Of the text.
            ends: How many words each beginning has, the shortest first.
        """
        size = max(len(words), 1)
        found = self._anchors.in_beginnings(words, ends)
        candidates = [index for index in found if self._least[index] <= size]
        if not candidates:
            return
        distinct: set[str] = set()
        grams: set[Gram] = set()
        seen = looked = 0  # so many words are in these two
        for number, end in enumerate(ends):
            if all(self._least[index] > max(end, 1) for index in candidates):
                continue  # it is too short
            distinct.update(words[seen:end])
            seen = end
            # Each word that is new, but for the first two, ends a gram that is new.
            candidates = [index for index in candidates if self._most[index] >= len(distinct) - 2]
            if all(self._least[index] > max(end, 1) for index in candidates):
                continue
            grams.update(_threes(words[max(looked - 2, 0) : end]))
            looked = end
            own = grams or _grams_in(words[:end])
            near = [self._texts[index] for index in candidates if self._is_near(index, own)]
            if near:
                yield number, near

    def _is_near(self, index: int, grams: set[Gram]) -> bool:
        if not self._least[index] <= len(grams) <= self._most[index]:
            return False
        other = self._grams(index)
        shared = len(grams & other)
        return shared / (len(grams) + len(other) - shared) >= self._threshold


_last: list[NearDuplicates] = []


def near_duplicates_among(texts: Collection[str], threshold: float) -> NearDuplicates:
    """The texts, maybe among others: those asked for last, where all of these are there.

    What is near a text follows from the texts and the threshold alone. So whoever asks may share what was
    made, and what was found, with others.
    """
    if not _last or not _last[0].holds(texts, threshold):
        _last[:] = [NearDuplicates(texts, threshold)]
    return _last[0]
