"""An index of the rarest word 3-grams of many texts, in little memory.

A 3-gram is a 64-bit hash of the hashes of its words (Python's `hash`). A collision adds a candidate that has
to be compared; it never hides one.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64).view(np.int64)  # odd
_BUCKETS_PER_TEXT = 64  # in which grams and words are counted
_MAX_BUCKETS = 2**24
_FILTER_BITS_PER_GRAM = 16  # one of so many grams outside the index passes the filter


class RareNgramIndex:
    """Finds the texts that share one of their rarest 3-grams with another text.

    The counts of grams are approximate, since several grams may share a bucket. They decide which grams of a
    text are indexed, which changes the time and not the result of a join.

    Args:
        texts: Called twice; gives the words of each text.
        sizes: The number of grams to index of each text; all, if the text has fewer.
    """

    def __init__(self, texts: Callable[[], Iterable[list[str]]], sizes: Sequence[int]) -> None:
        mask = _power_of_two(min(_BUCKETS_PER_TEXT * len(sizes), _MAX_BUCKETS)) - 1
        gram_counts, word_counts = (np.zeros(mask + 1, np.int32) for _ in range(2))
        for words in texts():
            hashes = _word_hashes(words)
            gram_counts[_gram_hashes(hashes) & mask] += 1
            word_counts[hashes & mask] += 1
        indexed, indexed_sizes = array("q"), array("i")
        for words, size in zip(texts(), sizes, strict=True):
            hashes = _word_hashes(words)
            grams, positions = np.unique(_gram_hashes(hashes), return_index=True)
            frequency = gram_counts[grams & mask].astype(np.int64)
            frequency *= _rarest_word_counts(word_counts[hashes & mask])[positions]
            rarest = grams[np.argsort(frequency, kind="stable")[:size]]
            indexed.frombytes(rarest.tobytes())
            indexed_sizes.append(len(rarest))
        unsorted = np.frombuffer(indexed, np.int64)
        order = np.argsort(unsorted, kind="stable")
        text_indices = np.repeat(
            np.arange(len(indexed_sizes), dtype=np.int32), np.frombuffer(indexed_sizes, np.int32)
        )
        self._grams, self._text_indices = unsorted[order], text_indices[order]
        self._filter_mask = _power_of_two(_FILTER_BITS_PER_GRAM * len(unsorted)) - 1
        self._filter = np.zeros(self._filter_mask + 1, np.bool_)
        self._filter[self._grams & self._filter_mask] = True

    def candidates(self, words: list[str], prefix_lengths: Iterable[int]) -> list[int]:
        """Indices, in order, of the texts with an indexed gram in a prefix of this text, and maybe of others.

        Args:
            words: Of the text.
            prefix_lengths: The number of words of each prefix, in ascending order.
        """
        hashes = _word_hashes(words)
        grams = _gram_hashes(hashes)
        for length in prefix_lengths:  # a prefix of one or two words has grams of its own
            if length > 2:
                break
            grams = np.concatenate([grams, _gram_hashes(hashes[:length])])
        grams = grams[self._filter[grams & self._filter_mask]]
        if not len(grams):
            return []
        starts = np.searchsorted(self._grams, grams, side="left").tolist()
        stops = np.searchsorted(self._grams, grams, side="right").tolist()
        text_indices = [
            self._text_indices[start:stop] for start, stop in zip(starts, stops, strict=True) if start < stop
        ]
        return np.unique(np.concatenate(text_indices)).tolist() if text_indices else []


def _word_hashes(words: list[str]) -> Hashes:
    return np.fromiter(map(hash, words), np.int64, len(words))


def _gram_hashes(word_hashes: Hashes) -> Hashes:
    """The hashes of the word 3-grams; of a shorter text those of its words, of an empty one a single hash."""
    if len(word_hashes) > 2:
        first, second = _MULTIPLIERS
        hashes: Hashes = word_hashes[:-2] * first + word_hashes[1:-1] * second + word_hashes[2:]
        return hashes
    return word_hashes if len(word_hashes) else np.zeros(1, np.int64)


def _rarest_word_counts(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """The count of the rarest word of each gram."""
    if len(counts) > 2:
        return np.minimum(np.minimum(counts[:-2], counts[1:-1]), counts[2:])
    return counts if len(counts) else np.ones(1, np.int32)


def _power_of_two(minimum: int) -> int:
    return 1 << max(minimum - 1, 1).bit_length()
