"""Templates, words and sentences: the little grammar that writing and reading share."""

import re
from functools import cache

from apo.demo.knowledge import LARGE_NUMBERS, NUMBERS

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[0-9]+|[^\sa-z0-9.,:!?]+")
_DIGITS = {str(number): word for number, word in enumerate(NUMBERS)} | {
    "24": "twenty-four",
    "30": "thirty",
    "60": "sixty",
    "100": "one hundred",
    "1000": "one thousand",
}
_LARGE = {name: name.replace(" ", "-") for name in LARGE_NUMBERS if " " in name}


@cache
def pattern(template: str) -> re.Pattern[str]:
    """The expression that reads what the template writes; a slot seen twice has to hold the same text.

    >>> pattern("Add {a} and {b}.").fullmatch("Add two and three.")["b"]
    'three'
    """
    parts: list[str] = []
    seen: set[str] = set()
    for i, part in enumerate(_SLOT.split(template)):
        if i % 2 == 0:
            parts.append(re.escape(part))
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>[A-Za-z -]+?)")
            seen.add(part)
    return re.compile("".join(parts))


def slots(template: str) -> list[str]:
    """Names of the template's slots, in order."""
    return _SLOT.findall(template)


def words(text: str) -> list[str]:
    """Words in lower case, without stops and commas; anything strange is a word of its own; digits are spelt.

    >>> words("It is 7!")
    ['it', 'is', 'seven']
    """
    return [_DIGITS.get(word, word) for word in _WORD.findall(text.lower())]


def line(text: str) -> str:
    """The words with a space on both sides, so that `f" {phrase} " in line` finds whole words."""
    joined = f" {' '.join(words(text))} "
    for name, glued in _LARGE.items():
        joined = joined.replace(f" {name} ", f" {glued} ")
    return joined


def named(text_line: str, phrases: tuple[str, ...]) -> set[str]:
    """Which of the phrases stand in a `line`."""
    return {phrase for phrase in phrases if f" {_LARGE.get(phrase, phrase.lower())} " in text_line}


def sentences(text: str) -> int:
    """How many sentences the text has, a last one without its full stop included."""
    return sum(bool(part.strip()) for part in re.split(r"[.!?]+", text))


def capitalised(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
