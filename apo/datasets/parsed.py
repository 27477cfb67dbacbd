"""The content of one row in any format, and the types of the functions that parse it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from apo.core.records import Row


class ParsedRow(NamedTuple):
    """The content of one row: responses, the query of each, and their scores, [] if it has none."""

    queries: list[str]
    responses: list[str]
    scores: list[float]
    extra: dict[str, str]

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[str, str]], scores: list[float]) -> "ParsedRow":
        """Pairs of query and response with a score for each."""
        return cls([query for query, _ in pairs], [response for _, response in pairs], scores, {})


Names = Mapping[str, str]  # the key of each part of the row, such as {"prompt": "question"}
Parse = Callable[[Row, str, Counter[str], Names], ParsedRow]  # of a row and its location


class ByFirstRow(NamedTuple):
    """Chooses the function that parses all rows of a file, and roles of columns, by its first row."""

    choose: Callable[[Row, Names], Parse]
    roles: Callable[[Row, Names], Mapping[str, str]] = lambda first, names: {}


Parser = Parse | ByFirstRow  # of the rows of a format
