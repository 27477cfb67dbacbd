"""The queries of the parts: each once, with what is counted about them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.splitting import MEASURED_ON, PARTS, Part, beginning_of
from apo.text.dialogue import digest_of, normalize_query

KINDS = 50  # of queries that are shown one by one, the largest


class Queries:
    """The distinct queries of every part: digests of them, and the texts of those that measure.

    Attributes:
        begun: How many queries of each part have each first turn, see `beginning_of`.
        measuring: The normalised queries of the parts that measure, in the order in which they come.
        shared: The normalised queries that two parts share, for each two: none, unless there is a mistake.
    """

    def __init__(self) -> None:
        self._parts_of: dict[bytes, int] = {}  # by the digest of the key: one bit a part
        self.measuring: dict[Part, dict[str, None]] = {
            part: {} for part in PARTS if any(part in others for others in MEASURED_ON.values())
        }
        self.shared: dict[tuple[Part, Part], set[str]] = {pair: set() for pair in combinations(PARTS, 2)}
        self._kinds: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
        self.begun: dict[str, Counter[bytes]] = {part: Counter() for part in PARTS}

    def watch(self, rows: Iterable[tuple[Part, Row]]) -> Iterator[tuple[str, Row]]:
        """Passes rows on, and behind the first one of a query that will be answered, that query.

        Yields:
            Rows by part, and `{query_id, query, type}` by PART_queries; no model answers those of valid.
        """
        for part, row in rows:
            yield part, {key: value for key, value in row.items() if key != "split"}
            if self._is_new(part, normalize_query(row["query"])):
                self._kinds[part][row["type"]] += 1
                self.begun[part][beginning_of(row["query"])] += 1
                if part != "valid":
                    yield f"{part}_queries", {key: row[key] for key in ("query_id", "query", "type")}

    def _is_new(self, part: Part, key: str) -> bool:
        digest, own = digest_of(key), _bit(part)
        known = self._parts_of.get(digest, 0)
        if known & own:
            return False
        self._parts_of[digest] = known | own
        if part in self.measuring:
            self.measuring[part][key] = None
        for (one, other), shared in self.shared.items() if known else ():
            if part in (one, other) and known & (_bit(one) | _bit(other)):
                shared.add(key)
        return True

    def again(self, rows: Iterable[Row]) -> Iterator[tuple[Part, str]]:
        """The normalised queries with each part that they are in, and forgets them: to be called once.

        Args:
            rows: Those that were watched, maybe among others.
        """
        for row in rows:
            key = normalize_query(row["query"])
            digest = digest_of(key)
            found = self._parts_of.get(digest, 0)
            if found:
                self._parts_of[digest] = 0
                yield from ((part, key) for part in PARTS if found & _bit(part))

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
        for part, kinds in self._kinds.items():
            if not kinds:
                raise UserError(
                    f"part {part}",
                    found="no comparisons",
                    expected="comparisons in every part: rm, llm, valid and test",
                    do="give files for it under data.files, or a larger split.*_fraction in params.yaml "
                    "(a larger split.near_duplicate, if all queries begin with one long text)",
                )


def _bit(part: Part) -> int:
    return 1 << PARTS.index(part)


def with_golden(
    rows: Iterable[tuple[str, Row]], golden: Iterable[Row], *, without: str, counts: Counter[str]
) -> Iterator[tuple[str, Row]]:
    """All rows but the RM part's queries without a golden answer, which can't be played.

    Args:
        rows: Rows by name, the queries of the RM part as `rm_queries`.
        golden: Rows with `query_id`.
        without: `split.without_golden`: "error", or "skip" (counted as `rm_queries_without_golden`).

    Raises:
        UserError: A query has none and `without` is "error".
    """
    known = {row["query_id"] for row in golden}
    for name, row in rows:
        if name != "rm_queries" or row["query_id"] in known:
            yield name, row
        elif without == "skip":
            counts["rm_queries_without_golden"] += 1
        else:
            raise UserError(
                f"query {row['query_id']!r} of the RM part",
                found="no golden answer",
                expected="one for every query of the RM part",
                do="add it to the golden answers, or set split.without_golden: skip in params.yaml",
            )
