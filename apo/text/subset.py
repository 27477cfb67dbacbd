"""Which queries are asked, and the golden answers to them as rows."""

import hashlib
from collections.abc import Iterable

from apo.core.records import Row


def draw(queries: Iterable[Row], *, at_most: int, seed: int) -> list[Row]:
    """At most so many of the queries (0 for all), those with the lowest hash, in their order."""
    rows = list(queries)
    if not at_most or len(rows) <= at_most:
        return rows

    def place(row: Row) -> bytes:
        return hashlib.sha256(f"{seed}:{row['query_id']}".encode()).digest()

    drawn = {row["query_id"] for row in sorted(rows, key=place)[:at_most]}
    return [row for row in rows if row["query_id"] in drawn]


def answers_of(queries: Iterable[Row], golden: Iterable[Row], *, name: str) -> dict[str, list[Row]]:
    """The golden answers to the queries as if a language model of that name had given them.

    Returns:
        One entry, or none where a query has no golden answer: what stands beside each other has to be
        measured on the same queries.
    """
    known = {row["query_id"]: row["golden"] for row in golden}
    asked = list(queries)
    if any(row["query_id"] not in known for row in asked):
        return {}
    return {name: [{**row, "samples": [known[row["query_id"]]], "made_by": name} for row in asked]}
