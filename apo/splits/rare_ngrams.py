"""The rarest word 3-grams of many texts, and which texts have one of another text's, in little memory.

A gram is a number of 64 bits made of the numbers of its words, which Python's `hash` gives. Two grams with
one number are one here: what is found is what has to be compared, and maybe more, never less.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_FIRST, _SECOND = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64).view(np.int64)  # odd
_SLOTS = 64  # for each text, in which its grams and its words are counted
_MOST_SLOTS = 2**24
_PLACES = 16  # of the filter for each anchor: of the grams that are none, one in so many passes it


class Anchors:
    """The rarest grams of each text, by which it is found.

    How rare a gram is, is counted in slots that several grams may share: which of its grams are the anchors
    of a text changes the time alone.

    Args:
        texts: Called twice; gives the words of each text.
        wanted: How many anchors each has; where its grams are fewer, all are.
    """

    def __init__(self, texts: Callable[[], Iterable[list[str]]], wanted: Sequence[int]) -> None:
        mask = _power_of_two(min(_SLOTS * len(wanted), _MOST_SLOTS)) - 1
        grams, words = (np.zeros(mask + 1, np.int32) for _ in range(2))
        for text in texts():
            own = _numbers_of(text)
            grams[_grams(own) & mask] += 1
            words[own & mask] += 1
        anchors, sizes = array("q"), array("i")
        for text, number in zip(texts(), wanted, strict=True):
            own = _numbers_of(text)
            found, where = np.unique(_grams(own), return_index=True)
            weights = grams[found & mask].astype(np.int64) * _rarest(words[own & mask])[where]
            rarest = found[np.argsort(weights, kind="stable")[:number]]
            anchors.frombytes(rarest.tobytes())
            sizes.append(len(rarest))
        numbers = np.frombuffer(anchors, np.int64)
        order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[order]
        self._owners = np.repeat(np.arange(len(sizes), dtype=np.int32), np.frombuffer(sizes, np.int32))[order]
        self._mask = _power_of_two(_PLACES * len(numbers)) - 1
        self._filter = np.zeros(self._mask + 1, np.bool_)
        self._filter[self._numbers & self._mask] = True

    def in_beginnings(self, words: list[str], ends: Iterable[int]) -> list[int]:
        """The texts that have an anchor in a beginning of this one, in their order; maybe others too.

        Args:
            words: Of the text.
            ends: How many words each beginning has, the shortest first.
        """
        own = _numbers_of(words)
        asked = _grams(own)
        for end in ends:  # a text of one or two words has other grams than one that goes on
            if end > 2:
                break
            asked = np.concatenate([asked, _grams(own[:end])])
        asked = asked[self._filter[asked & self._mask]]
        if not len(asked):
            return []
        starts = np.searchsorted(self._numbers, asked, side="left").tolist()
        stops = np.searchsorted(self._numbers, asked, side="right").tolist()
        owners = [self._owners[a:b] for a, b in zip(starts, stops, strict=True) if a < b]
        return np.unique(np.concatenate(owners)).tolist() if owners else []


def _numbers_of(words: list[str]) -> Numbers:
    return np.fromiter(map(hash, words), np.int64, len(words))


def _grams(numbers: Numbers) -> Numbers:
    """The numbers of the word 3-grams; of a shorter text those of its words, of an empty one a number too."""
    if len(numbers) > 2:
        found: Numbers = numbers[:-2] * _FIRST + numbers[1:-1] * _SECOND + numbers[2:]
        return found
    return numbers if len(numbers) else np.zeros(1, np.int64)


def _rarest(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """How often the rarest word of each gram is there."""
    if len(counts) > 2:
        return np.minimum(np.minimum(counts[:-2], counts[1:-1]), counts[2:])
    return counts if len(counts) else np.ones(1, np.int32)


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()
