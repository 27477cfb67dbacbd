"""The queries of the parts: each once, with what is counted about them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from typing import Any

from apo.errors import UserError
from apo.records import Row
from apo.split.splitting import PARTS, Part, beginning_of, key_of

KINDS = 50  # of queries that are shown one by one, the largest


class Queries:
    """The distinct queries of every part, in the order in which they come.

    Attributes:
        begun: How many queries of each part have each first turn, see `beginning_of`.
    """

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Row]] = {part: {} for part in PARTS}
        self._kinds: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
        self.begun: dict[str, Counter[bytes]] = {part: Counter() for part in PARTS}

    def watch(self, rows: Iterable[tuple[Part, Row]]) -> Iterator[tuple[Part, Row]]:
        """Passes rows on and remembers their queries."""
        for part, row in rows:
            key = key_of(row["query"])
            if key not in self._of[part]:
                query = {"query_id": row["query_id"], "query": row["query"], "type": row["type"]}
                self._of[part][key] = query
                self._kinds[part][row["type"]] += 1
                self.begun[part][beginning_of(row["query"])] += 1
            yield part, {key: value for key, value in row.items() if key != "split"}

    def keys(self) -> dict[str, Set[str]]:
        """The normalised queries of each part, in their order."""
        return {part: queries.keys() for part, queries in self._of.items()}

    def of(self, part: Part) -> list[Row]:
        """Rows `{query_id, query, type}` of a part."""
        return list(self._of[part].values())

    def by_type(self) -> dict[str, Any]:
        """For the metrics: what each kind of query got.

        Returns:
            `by_type`: for each `type` its `queries` and the fraction of them in each part, and for the
            `KINDS` largest kinds only; `types`: how many there are; `types_absent_from_PART`: how many have
            no query in a part, so that it trains or measures nothing of that kind.
        """
        sizes = sum(self._kinds.values(), Counter())
        largest = sorted(sizes, key=lambda kind: (-sizes[kind], kind))[:KINDS]
        fractions = {
            kind: {"queries": sizes[kind]} | {part: self._kinds[part][kind] / sizes[kind] for part in PARTS}
            for kind in sorted(largest)
        }
        absent = {f"types_absent_from_{part}": len(sizes.keys() - self._kinds[part].keys()) for part in PARTS}
        return {"types": len(sizes), **absent, "by_type": fractions}

    def prove_none_is_empty(self) -> None:
        """Every part trains or measures a model.

        Raises:
            UserError: A part has no query.
        """
        for part, queries in self._of.items():
            if not queries:
                raise UserError(
                    f"part {part}",
                    found="no comparisons",
                    expected="comparisons in every part: rm, llm, valid and test",
                    do="give files for it under data.files, or a larger split.*_fraction in params.yaml "
                    "(a larger split.near_duplicate, if all queries begin with one long text)",
                )


def with_golden(
    queries: Iterable[Row], golden: Iterable[Row], *, without: str, counts: Counter[str]
) -> Iterator[Row]:
    """The queries that have a golden answer; without one a query can't be played.

    Args:
        queries: Of the RM part.
        golden: Rows with `query_id`.
        without: `split.without_golden`: "error", or "skip" (counted as `rm_queries_without_golden`).

    Raises:
        UserError: A query has none and `without` is "error".
    """
    known = {row["query_id"] for row in golden}
    for row in queries:
        if row["query_id"] in known:
            yield row
        elif without == "skip":
            counts["rm_queries_without_golden"] += 1
        else:
            raise UserError(
                f"query {row['query_id']!r} of the RM part",
                found="no golden answer",
                expected="one for every query of the RM part",
                do="add it to the golden answers, or set split.without_golden: skip in params.yaml",
            )
