"""Which transcripts the page shows, and how often the two reward models agree."""

from collections.abc import Iterable, Sequence

from apo.core.records import Row
from apo.core.subset import subsample


def at_most(rows: Iterable[Row], most: int, *, seed: int) -> list[Row]:
    """At most `most` transcripts of each round and split, 0 for all, a seeded subset in the given order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["round"], row["split"]), []).append(row)
    return [row for group in groups.values() for row in subsample(group, max_queries=most, seed=seed)]


def count_choices(rows: Sequence[Row]) -> tuple[int, int]:
    """The number of queries for which both RMs chose the same sample, and for which they did not.

    Transcripts whose samples only one RM rated do not count.
    """
    rated = [row for row in rows if "disagreement" in row["measures"]]
    equal = sum(len(set(row["chosen"].values())) == 1 for row in rated)
    return equal, len(rated) - equal


def count(rows: Sequence[Row], shown: Sequence[Row]) -> dict[str, int]:
    """The number of transcripts that the page shows and leaves out, and how often the two RMs agree."""
    equal, different = count_choices(rows)
    return {
        "transcripts": len(shown),
        "left_out": len(rows) - len(shown),
        "same_choice": equal,
        "other_choice": different,
    }
