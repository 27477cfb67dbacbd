"""The proof that nothing is measured on what it was trained on: in what is written, whatever chose it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Literal

from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.near_duplicates import near_duplicates_among
from apo.splits.splitting import MEASURED_ON, Part, beginning_of
from apo.text.dialogue import ASSISTANT, query_keys


def prove_disjoint(shared_by: Mapping[tuple[Part, Part], Set[str]]) -> dict[str, int]:
    """How many keys each pair of parts shares, by names joined with `_and_`: always 0.

    >>> prove_disjoint({("rm", "test"): set()})
    {'rm_and_test': 0}

    Args:
        shared_by: The keys that two parts share.

    Raises:
        UserError: Two parts share a key.
    """
    overlaps = {}
    for (one, other), shared in shared_by.items():
        if shared:
            raise UserError(
                f"{one} and {other}",
                found=f"{len(shared)} queries in both, such as {min(shared)!r:.200}",
                expected="none",
                do="remove them from one of the two files, or let both be drawn (split: '')",
            )
        overlaps[f"{one}_and_{other}"] = 0
    return overlaps


class Leaks:
    """Counts the queries that something is trained on and, equal or nearly so, measured on.

    It looks at what is written, whatever left rows out before; what it counts must be 0. What is near a text
    may have been found before: that follows from the texts alone, not from what was decided about them. The
    queries that share no more than their first turn with one that measures are counted too.

    Args:
        measuring: The keys of the queries of each part that measures.
        trained: The key of each query with its part; read once, as a stream.
        begun: How many of them have each first turn, see `beginning_of`.
        near_duplicate: Jaccard similarity from which two queries are near-duplicates.
        shared_first_turn: Whether a shared first turn is a leak (`drop`).
    """

    def __init__(
        self,
        measuring: Mapping[Part, Iterable[str]],
        trained: Iterable[tuple[Part, str]],
        begun: Mapping[str, Mapping[bytes, int]],
        *,
        near_duplicate: float,
        shared_first_turn: Literal["keep", "drop"],
    ) -> None:
        self._begun, self._is_leak = begun, shared_first_turn == "drop"
        self._part_of: dict[str, Part] = {key: part for part in sorted(measuring) for key in measuring[part]}
        # Maybe there are more texts in it, which measure nothing.
        self._near = near_duplicates_among(self._part_of, near_duplicate)
        # Remembered for the proof, which asks about a row right after `unseen` did.
        self._queries_near = lru_cache(maxsize=2)(self._look_along)
        pairs = [f"{name}_and_{other}" for name, others in MEASURED_ON.items() for other in others]
        self._equal, self._close, self._first = (dict.fromkeys(pairs, 0) for _ in range(3))
        self._examples: dict[str, tuple[str, str]] = {}
        for part, key in trained:
            if part in MEASURED_ON:
                self._count(part, key, self._near.of(key))
        for name in begun:
            for other in MEASURED_ON.get(name, ()):
                shared = begun[name].keys() & begun[other].keys()
                self._first[f"{name}_and_{other}"] = sum(begun[name][one] for one in shared)

    def why_not(self, name: str, row: Row) -> str | None:
        """What keeps a demonstration or a document from training: `dropped`, `dropped_near`, or nothing.

        A dialogue has a query before each of its answers: what follows the first one answers a query too,
        and may be the answer to one that is set aside. Where a shared first turn is a leak, it is
        `dropped_first_turn`.

        Args:
            name: "demonstrations" or "documents".
            row: With `query`, or with `text`: a dialogue or something else.
        """
        found = [
            key == other
            for key, others in self._queries_near(_text_of(row))
            for other in others
            if self._part_of.get(other) in MEASURED_ON[name]
        ]
        if found:
            return "dropped" if any(found) else "dropped_near"
        return "dropped_first_turn" if self._is_leak and self._begun_in(name, row) else None

    def watch(self, name: str, rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
        """Passes demonstrations or documents on, with their name, and looks at each query in them."""
        for row in rows:
            for key, others in self._queries_near(_text_of(row)):
                self._count(name, key, others)
            for other in self._begun_in(name, row):
                self._first[f"{name}_and_{other}"] += 1
            yield name, row

    def _look_along(self, text: str) -> list[tuple[str, list[str]]]:
        return list(self._near.along(query_keys(text)))

    def _begun_in(self, name: str, row: Row) -> list[str]:
        """The parts with a query that begins like the row and measures what is trained on it."""
        text = _text_of(row)
        if ASSISTANT not in text:
            return []
        beginning = beginning_of(text)
        return [part for part in MEASURED_ON[name] if beginning in self._begun[part]]

    def _count(self, name: str, key: str, near: Iterable[str]) -> None:
        for other in near:
            if self._part_of.get(other) in MEASURED_ON[name]:
                pair = f"{name}_and_{self._part_of[other]}"
                (self._equal if key == other else self._close)[pair] += 1
                self._examples.setdefault(pair, (key, other))

    def prove_none(self) -> dict[str, dict[str, int]]:
        """`overlaps` and `near_duplicates`: queries of a training set by what measures it, always 0.

        Beside them `shared_first_turns`: queries of a training part, rows of the others.

        Raises:
            UserError: A training set has a query, or nearly, on which its models are measured.
        """
        if self._examples:
            pair, (key, other) = next(iter(self._examples.items()))
            raise UserError(
                pair.replace("_and_", " and "),
                found=f"{self._equal[pair]} equal queries and {self._close[pair]} near-duplicates, "
                f"such as {key!r:.200} and {other!r:.200}",
                expected="none",
                do="remove them from one of the two; that `split` did not is a mistake in it",
            )
        if self._is_leak and any(self._first.values()):
            pair = next(pair for pair, shared in self._first.items() if shared)
            raise UserError(
                pair.replace("_and_", " and "),
                found=f"{self._first[pair]} queries with the same first turn in both",
                expected="none (split.shared_first_turn: drop)",
                do="remove them from one of the two; that `split` did not is a mistake in it",
            )
        return {"overlaps": self._equal, "near_duplicates": self._close, "shared_first_turns": self._first}


def unseen(rows: Iterable[Row], leaks: Leaks, *, name: str, counts: Counter[str]) -> Iterator[Row]:
    """Rows for training in which no query is set aside or near to one that is.

    Args:
        rows: Demonstrations or documents.
        leaks: Knows what is set aside.
        name: Of the rows.
        counts: Receives `NAME_dropped`, rows with a query that is set aside, `NAME_dropped_near`, and where
            that is asked for `NAME_dropped_first_turn`.
    """
    for row in rows:
        why = leaks.why_not(name, row)
        if why:
            counts[f"{name}_{why}"] += 1
        else:
            yield row


def _text_of(row: Row) -> str:
    return str(row.get("query") or row["text"])
