"""Which texts are nearly the same: an exact join, in which nothing is left to chance.

A text is the set of its word 3-grams. Two texts are near-duplicates where the Jaccard similarity of their
sets, |A and B| / |A or B|, is at least a threshold t. Since |A or B| >= |A|, they share ceil(t |A|) grams or
more; with the grams of both in one order, the first that they share is then among the first
|A| - ceil(t |A|) + 1 of A, and likewise of B. Only texts that share one of these are compared (prefix
filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006). The rarest come first, so that these are few.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil

Gram = tuple[str, ...]

# Thai to Tibetan, Burmese, Khmer, kana, Chinese: no white space between words, so each character is one.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)
_ROUNDING = 1e-9  # t |A| may come out a little above a whole number; what is compared is decided exactly


def grams_of(text: str) -> set[Gram]:
    """The word 3-grams of a text; of a shorter one its words, of an empty one the empty gram.

    >>> sorted(grams_of("how are you now"))
    [('are', 'you', 'now'), ('how', 'are', 'you')]
    """
    words = _words_of(text)
    return _threes(words) or {(word,) for word in words} or {()}


def _words_of(text: str) -> list[str]:
    return (text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)).split()


def _threes(words: list[str]) -> set[Gram]:
    return set(zip(words, words[1:], words[2:]))  # noqa: B905 - they end with the shortest


class NearDuplicates:
    """Texts among which those near to another one are found.

    Args:
        texts: Normalised: what does not count is gone.
        threshold: Least Jaccard similarity, above 0 to 1; at 1 the sets have to be equal.
    """

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        assert 0 < threshold <= 1, threshold
        self._threshold = threshold
        self._texts = list(texts)
        counts: Counter[Gram] = Counter()
        for text in self._texts:
            counts.update(grams_of(text))
        # A gram from now on is its place among all, the rarest first.
        self._place = {gram: place for place, gram in enumerate(sorted(counts, key=counts.__getitem__))}
        self._sets = [tuple(sorted(self._place[gram] for gram in grams_of(text))) for text in self._texts]
        self._with: dict[int, list[int]] = {}
        for index, places in enumerate(self._sets):
            for place in places[: self._prefix(len(places))]:
                self._with.setdefault(place, []).append(index)

    def _prefix(self, size: int) -> int:
        """How many of a text's grams, rarest first, hold one that a near-duplicate has too."""
        return size - ceil(self._threshold * size - _ROUNDING) + 1

    def of(self, text: str) -> list[str]:
        """The texts that are near-duplicates of this one, in their order; one that is equal is among them.

        >>> NearDuplicates(["a b c d", "a b c e", "a b c"], 0.5).of("a b c d")
        ['a b c d', 'a b c']
        """
        if text.isascii():  # otherwise a word may be several
            spare = self._spare(text.count(" ") + 1)
            if self._has_unknown(text.rsplit(None, 4 + 3 * spare)[1:], spare):
                return []
        return self._near(grams_of(text))

    def along(self, pieces: Iterable[list[str]]) -> Iterator[tuple[str, list[str]]]:
        """For a text that grows by pieces: each time that texts are near it, its words so far and they.

        >>> list(NearDuplicates(["a b c d", "a b c e"], 0.9).along([["a", "b"], ["c", "d"], ["e"]]))
        [('a b c d', ['a b c d'])]
        """
        said: list[str] = []
        words: list[str] = []
        grams: set[Gram] = set()  # of the words that were looked at
        looked, unknown = 0, 0
        for piece in pieces:
            said += piece
            added = _words_of(" ".join(piece))
            words += added
            spare = self._spare(len(words))
            if self._has_unknown(words[-min(4 + 3 * spare, 64 + 4 * len(added)) :], spare):
                continue
            new = _threes(words[max(looked - 2, 0) :]).difference(grams)
            grams |= new
            looked, unknown = len(words), unknown + len(new.difference(self._place))
            if unknown < self._prefix(len(grams)):
                near = self._near(grams or grams_of(" ".join(words)))
                if near:
                    yield " ".join(said), near

    def _spare(self, words: int) -> int:
        """How many grams of a text of so many words may be in no near-duplicate, at most."""
        return self._prefix(max(words - 2, 1)) - 1

    def _has_unknown(self, words: list[str], more_than: int) -> bool:
        """Whether more grams than that are in no text: so many texts are done with a few of their words."""
        return len(_threes(words).difference(self._place)) > more_than

    def _near(self, grams: set[Gram]) -> list[str]:
        unknown = grams.difference(self._place)  # the rarest
        prefix = self._prefix(len(grams)) - len(unknown)
        if prefix <= 0:
            return []
        known = {self._place[gram] for gram in grams.difference(unknown)}
        rarest = sorted(known)[:prefix]
        candidates = {index for place in rarest for index in self._with.get(place, ())}
        return [self._texts[i] for i in sorted(candidates) if self._is_near(i, known, len(grams))]

    def _is_near(self, index: int, known: set[int], size: int) -> bool:
        places = self._sets[index]
        if not size * self._threshold - _ROUNDING <= len(places) <= size / self._threshold + _ROUNDING:
            return False
        shared = len(known.intersection(places))
        return shared / (size + len(places) - shared) >= self._threshold
