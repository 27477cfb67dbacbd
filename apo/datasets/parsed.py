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


Parse = Callable[[Row, str, Counter[str]], ParsedRow]
Names = Mapping[str, str]  # the key of each part of the row, such as {"prompt": "question"}
Bind = Callable[[Row, Names], Parse]  # from the first row of a file to the function that reads all its rows


def always(parse: Parse) -> Bind:
    """A format whose rows are all read by one function."""
    return lambda first, names: parse


def of_pairs(pairs: Sequence[tuple[str, str]], scores: list[float]) -> ParsedRow:
    """Pairs of query and response with a score for each."""
    return ParsedRow([query for query, _ in pairs], [response for _, response in pairs], scores, {})
