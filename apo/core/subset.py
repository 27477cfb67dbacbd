"""A seeded subset of the queries, and golden answers in the form of a language model's samples."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable

from apo.core.records import Row


def subsample(queries: Iterable[Row], *, max_queries: int, seed: int) -> list[Row]:
    """At most `max_queries` of the queries (0 for all), in their order.

    The queries with the lowest hashes of seed and query id are kept, so a larger subset contains a smaller
    one.
    """
    rows = list(queries)
    if not max_queries or len(rows) <= max_queries:
        return rows

    def hash_of(row: Row) -> bytes:
        return hashlib.sha256(f"{seed}:{row['query_id']}".encode()).digest()

    kept_ids = {row["query_id"] for row in sorted(rows, key=hash_of)[:max_queries]}
    return [row for row in rows if row["query_id"] in kept_ids]


def golden_as_samples(
    queries: Iterable[Row], golden: Iterable[Row], *, name: str, counts: Counter[str]
) -> dict[str, list[Row]]:
    """The golden answers to the queries, in the form of samples of a language model called `name`.

    Counts `golden_missing`, queries without one, if some have one.

    Returns:
        One entry, or none if a query has no golden answer: models are compared on the same queries only.
    """
    golden_by_id = {row["query_id"]: row["golden"] for row in golden}
    rows = list(queries)
    missing = sum(row["query_id"] not in golden_by_id for row in rows)
    if missing:
        if missing < len(rows):
            counts["golden_missing"] = missing
            print(
                f"no golden answer to {missing:,} of {len(rows):,} test queries: not compared with LLMs",
                file=sys.stderr,
            )
        return {}
    return {name: [{**row, "samples": [golden_by_id[row["query_id"]]], "made_by": name} for row in rows]}
