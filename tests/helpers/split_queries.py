"""Queries that are split, and long ones that are near-duplicates of each other."""

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
