"""Exact search for near-duplicate texts.

A text is the set of its word 3-grams. Two texts are near-duplicates if the Jaccard similarity of their sets,
|A and B| / |A or B|, is at least a threshold t. Since |A or B| >= |B|, they share at least ceil(t |B|) grams,
so of any |B| - ceil(t |B|) + 1 grams of B at least one is in A. The index holds that many grams of each text
B, the rarest ones, and compares A only with texts that share one of them (prefix filtering: Chaudhuri, Ganti
and Kaushik, ICDE 2006).
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from math import ceil, floor

Gram = tuple[str, ...]

# Thai to Tibetan, Burmese, Khmer, kana, Chinese: no white space between words, so each character is a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)
GRAM_CACHE_SIZE = 4096  # texts whose gram sets are cached
_ROUNDING = 1e-9  # t |A| may be slightly above an integer; the final comparison is exact


def word_ngrams(text: str) -> set[Gram]:
    """The word 3-grams of a text; the words of a shorter text, the empty gram of an empty one.

    >>> sorted(word_ngrams("how are you now"))
    [('are', 'you', 'now'), ('how', 'are', 'you')]
    """
    return _ngrams(_words(text))


def _words(text: str) -> list[str]:
    return (text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)).split()


def _ngrams(words: list[str]) -> set[Gram]:
    return set(_trigrams(words)) or {(word,) for word in words} or {()}


def _trigrams(words: list[str]) -> Iterator[Gram]:
    return zip(words, words[1:], words[2:])  # noqa: B905 - they end with the shortest


class NearDuplicateIndex:
    """Finds the near-duplicates of a text among many texts.

    Memory: the texts, 12 bytes per indexed gram, and a filter in front of them. Grams are indexed by a 64-bit
    hash and compared as words, so a hash collision costs time and never changes a result.

    Args:
        texts: Normalized.
        threshold: The least Jaccard similarity, above 0 to 1; at 1 the sets have to be equal.
    """

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        from apo.splits.rare_ngrams import RareNgramIndex

        assert 0 < threshold <= 1, threshold
        self._threshold = threshold
        self._texts = list(texts)
        self._ngrams = lru_cache(maxsize=GRAM_CACHE_SIZE)(lambda index: word_ngrams(self._texts[index]))
        sizes = [len(word_ngrams(text)) for text in self._texts]
        # The least number of shared grams, and the largest number of grams, of a near-duplicate.
        self._min_shared = array("i", (ceil(threshold * size - _ROUNDING) for size in sizes))
        self._max_size = array("i", (floor(size / threshold + _ROUNDING) for size in sizes))
        indexed = [size - shared + 1 for size, shared in zip(sizes, self._min_shared, strict=True)]
        self._rare_ngrams = RareNgramIndex(lambda: map(_words, self._texts), indexed)

    def covers(self, texts: Iterable[str], threshold: float) -> bool:
        """Whether the index has this threshold and contains all of these texts."""
        return threshold == self._threshold and set(self._texts).issuperset(texts)

    def find(self, text: str) -> list[str]:
        """The texts that are near-duplicates of this one or equal to it, in the order of the index.

        >>> NearDuplicateIndex(["a b c d", "a b c e", "a b c"], 0.5).find("a b c d")
        ['a b c d', 'a b c']
        """
        words = _words(text)
        return next((matches for _, matches in self._find_in_prefixes(words, [len(words)])), [])

    def find_in_prefixes(self, segments: Iterable[list[str]]) -> Iterator[tuple[str, list[str]]]:
        """Searches for every prefix of a text that grows by segments; yields the prefixes with matches.

        >>> index = NearDuplicateIndex(["a b c d", "a b c e"], 0.9)
        >>> list(index.find_in_prefixes([["a", "b"], ["c", "d"], ["e"]]))
        [('a b c d', ['a b c d'])]
        """
        words: list[str] = []
        texts: list[str] = []
        lengths: list[int] = []
        for segment in segments:
            text = " ".join(segment)
            texts.append(text)
            words += segment if text.isascii() else _words(text)
            lengths.append(len(words))
        for index, matches in self._find_in_prefixes(words, lengths):
            yield " ".join(texts[: index + 1]), matches

    def _find_in_prefixes(self, words: list[str], lengths: list[int]) -> Iterator[tuple[int, list[str]]]:
        """The index of each prefix that has near-duplicates, and these.

        Args:
            words: Of the text.
            lengths: The number of words of each prefix, in ascending order.
        """
        size = max(len(words), 1)
        candidates = self._rare_ngrams.candidates(words, lengths)
        candidates = [index for index in candidates if self._min_shared[index] <= size]
        if not candidates:
            return
        distinct_words: set[str] = set()
        trigrams: set[Gram] = set()
        words_seen = words_in_trigrams = 0
        for prefix, length in enumerate(lengths):
            if all(self._min_shared[index] > max(length, 1) for index in candidates):
                continue  # the prefix is too short
            distinct_words.update(words[words_seen:length])
            words_seen = length
            # Each new word after the first two ends a new gram, so the prefix has at least so many grams.
            candidates = [index for index in candidates if self._max_size[index] >= len(distinct_words) - 2]
            if all(self._min_shared[index] > max(length, 1) for index in candidates):
                continue
            trigrams.update(_trigrams(words[max(words_in_trigrams - 2, 0) : length]))
            words_in_trigrams = length
            ngrams = trigrams or _ngrams(words[:length])
            matches = [self._texts[index] for index in candidates if self._is_near(index, ngrams)]
            if matches:
                yield prefix, matches

    def _is_near(self, index: int, ngrams: set[Gram]) -> bool:
        if not self._min_shared[index] <= len(ngrams) <= self._max_size[index]:
            return False
        indexed_ngrams = self._ngrams(index)
        shared = len(ngrams & indexed_ngrams)
        return shared / (len(ngrams) + len(indexed_ngrams) - shared) >= self._threshold


_cached_index: list[NearDuplicateIndex] = []


def near_duplicate_index(texts: Collection[str], threshold: float) -> NearDuplicateIndex:
    """An index of the texts, and maybe of others: the previous index if it covers them.

    Near-duplicates follow from the texts and the threshold alone, so callers may share an index.
    """
    if not _cached_index or not _cached_index[0].covers(texts, threshold):
        _cached_index[:] = [NearDuplicateIndex(texts, threshold)]
    return _cached_index[0]
