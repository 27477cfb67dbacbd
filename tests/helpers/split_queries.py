"""Queries that are split, and long ones that are near-duplicates of each other."""

from collections import Counter
from typing import Any

from apo.splits.splitting import assign, split_rows

FRACTIONS = {"rm_fraction": 0.5, "valid_fraction": 0.1, "test_fraction": 0.2}


def query(name: object, tail: str = "") -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:{tail}"


def branch(name: object, turn: str) -> str:
    """A dialogue with the first turn of `query(name)` and another turn."""
    return query(name, f" Yes\n\nHuman: {turn}\n\nAssistant:")


def long_query(name: object, word: str = "here") -> str:
    """A query of 83 words; with another word in the middle it is a near-duplicate, 77 of 83 3-grams."""
    words = [f"{name} {n}" for n in range(40)]
    return query(" ".join([*words[:20], word, *words[20:]]))


Row = dict[str, Any]


def row(name: object, split: str = "", tail: str = "") -> Row:
    return {"query": query(name, tail), "split": split}


def part_of(text: str, given_part: str = "", **changes: Any) -> str:
    return assign(text, given_part, **{"seed": 1, **FRACTIONS, **changes})


def split(rows: list[Row], **changes: Any) -> tuple[list[tuple[str, Row]], Counter[str]]:
    """The rows with their parts, and the counts."""
    counts: Counter[str] = Counter()
    options = {"seed": 1, "near_duplicate": 0.9, "shared_first_turn": "keep"} | FRACTIONS | changes
    return list(split_rows(lambda: iter(rows), counts=counts, **options)), counts


def name_drawn_into(part: str, **changes: Any) -> int:
    return next(n for n in range(1000) if part_of(query(n), **changes) == part)
