"""Which transcripts the page shows, and how often the two reward models agree."""

from collections.abc import Iterable, Sequence

from apo.core.records import Row
from apo.core.subset import subsample


def at_most(rows: Iterable[Row], most: int, *, seed: int) -> list[Row]:
    """So many transcripts of each round and split, 0 for all, drawn by their queries; in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["round"], row["split"]), []).append(row)
    return [row for group in groups.values() for row in subsample(group, max_queries=most, seed=seed)]


def choices(rows: Sequence[Row]) -> tuple[int, int]:
    """Of the transcripts whose samples both RMs rated, those in which both chose the same, and the others."""
    rated = [row for row in rows if "disagreement" in row["measures"]]
    same = sum(len(set(row["chosen"].values())) == 1 for row in rated)
    return same, len(rated) - same


def count(rows: Sequence[Row], shown: Sequence[Row]) -> dict[str, int]:
    """What the page shows, what it leaves out, and the choices of the two RMs in all of them."""
    same, other = choices(rows)
    return {
        "transcripts": len(shown),
        "left_out": len(rows) - len(shown),
        "same_choice": same,
        "other_choice": other,
    }
