"""Queries of the demo world, for all tests of it."""

from apo.demo import World

WORLD = World(7)
QUERIES = WORLD.queries(700, "test", set())
COMPARISONS = list(WORLD.comparisons(QUERIES, 1.0, "test"))


def dialogue(*turns: str) -> str:
    """A query of human and assistant turns."""
    marks = ["\n\nHuman: ", "\n\nAssistant: "]
    return "".join(marks[i % 2] + turn for i, turn in enumerate(turns)) + "\n\nAssistant:"
