"""The distinct queries of each part, with counts by type."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from apo.core.dialogue import digest_of, normalize_query
from apo.core.records import Row
from apo.splits.splitting import EVALUATED_ON, PARTS, Part, first_turn_digest

MAX_TYPES = 50  # in the metrics, the largest ones


class Queries:
    """Collects the distinct queries of every part: digests, and the texts of evaluation queries.

    Attributes:
        evaluation: The normalized queries of the parts that evaluate models, in the order of the rows.
        first_turns: By part, how many of its queries have each first turn, see `first_turn_digest`.
        shared: By two parts, the normalized queries in both; empty unless the split is wrong.
        draws: Whether the part of any row was drawn, since the source gives none.
    """

    def __init__(self) -> None:
        evaluation_parts = {part for parts in EVALUATED_ON.values() for part in parts}
        self.evaluation: dict[Part, dict[str, None]] = {
            part: {} for part in PARTS if part in evaluation_parts
        }
        self.first_turns: dict[str, Counter[bytes]] = {part: Counter() for part in PARTS}
        self.shared: dict[tuple[Part, Part], set[str]] = {pair: set() for pair in combinations(PARTS, 2)}
        self.draws = False
        self._part_bits: dict[bytes, int] = {}  # by digest, one bit per part
        self._type_counts: dict[str, Counter[str]] = {part: Counter() for part in PARTS}

    def collect(self, rows: Iterable[tuple[Part, Row]]) -> Iterator[tuple[str, Row]]:
        """Yields all rows, and each query that a model will answer after its first row.

        Yields:
            (PART, row), and (PART_queries, `{query_id, query, type}`); no model answers the queries of valid.
        """
        for part, row in rows:
            self.draws |= not row["split"]
            yield part, {key: value for key, value in row.items() if key != "split"}
            if self._add(part, normalize_query(row["query"])):
                self._type_counts[part][row["type"]] += 1
                self.first_turns[part][first_turn_digest(row["query"])] += 1
                if part != "valid":
                    yield f"{part}_queries", {key: row[key] for key in ("query_id", "query", "type")}

    def _add(self, part: Part, key: str) -> bool:
        """Adds a normalized query; False if the part has it already."""
        digest, bit = digest_of(key), _bit(part)
        known_bits = self._part_bits.get(digest, 0)
        if known_bits & bit:
            return False
        self._part_bits[digest] = known_bits | bit
        if part in self.evaluation:
            self.evaluation[part][key] = None
        if known_bits:
            for (first, second), shared in self.shared.items():
                if part in (first, second) and known_bits & (_bit(first) | _bit(second)):
                    shared.add(key)
        return True

    def pop_parts(self, rows: Iterable[Row]) -> Iterator[tuple[Part, str]]:
        """Each part and normalized query once, in the order of the rows. Removes them, to be called once.

        Args:
            rows: The collected rows, and maybe others.
        """
        for row in rows:
            key = normalize_query(row["query"])
            digest = digest_of(key)
            bits = self._part_bits.get(digest, 0)
            if bits:
                self._part_bits[digest] = 0
                yield from ((part, key) for part in PARTS if bits & _bit(part))

    def by_type(self) -> dict[str, Any]:
        """Metrics by type of query.

        Returns:
            `by_type`: for each of the `MAX_TYPES` largest types its `queries`, and the fraction of them in
            each part; `types`: the number of types; `types_absent_from_PART`: the number without a query in
            the part.
        """
        sizes = sum(self._type_counts.values(), Counter())
        largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:MAX_TYPES]
        fractions = {
            name: {"queries": sizes[name]}
            | {part: self._type_counts[part][name] / sizes[name] for part in PARTS}
            for name in sorted(largest)
        }
        absent = {
            f"types_absent_from_{part}": len(sizes.keys() - self._type_counts[part].keys()) for part in PARTS
        }
        return {"types": len(sizes), **absent, "by_type": fractions}

    def numbers(self) -> dict[str, int]:
        """The number of queries of each part."""
        return {part: types.total() for part, types in self._type_counts.items()}


def _bit(part: Part) -> int:
    return 1 << PARTS.index(part)
