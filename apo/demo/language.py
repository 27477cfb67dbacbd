"""Templates, words and sentences, for generating and parsing."""

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
def template_pattern(template: str) -> re.Pattern[str]:
    """The regular expression that parses a template. A slot that occurs twice must have the same text.

    >>> template_pattern("Add {a} and {b}.").fullmatch("Add two and three.")["b"]
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


def slot_names(template: str) -> list[str]:
    """The names of the slots of a template, in order."""
    return _SLOT.findall(template)


def words(text: str) -> list[str]:
    """Words in lower case without punctuation; numbers in digits are spelled, other symbols are words.

    >>> words("It is 7!")
    ['it', 'is', 'seven']
    """
    return [_DIGITS.get(word, word) for word in _WORD.findall(text.lower())]


def word_line(text: str) -> str:
    """The words with a space around each, so that `f" {phrase} " in word_line(text)` matches whole words."""
    line = f" {' '.join(words(text))} "
    for name, hyphenated in _LARGE.items():
        line = line.replace(f" {name} ", f" {hyphenated} ")
    return line


def mentioned(line: str, phrases: tuple[str, ...]) -> set[str]:
    """The phrases that are in a `word_line`."""
    return {phrase for phrase in phrases if f" {_LARGE.get(phrase, phrase.lower())} " in line}


def count_sentences(text: str) -> int:
    """The number of sentences, including a last one without a full stop."""
    return sum(bool(part.strip()) for part in re.split(r"[.!?]+", text))


def capitalized(text: str) -> str:
    """The text with an upper-case first letter."""
    return text[:1].upper() + text[1:]
