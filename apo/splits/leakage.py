"""The check that no model is evaluated on what it was trained on, made on the rows that are written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Literal

from apo.core.dialogue import ASSISTANT, query_keys
from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.near_duplicates import near_duplicate_index
from apo.splits.splitting import EVALUATED_ON, Part, first_turn_digest


def check_disjoint(shared: Mapping[tuple[Part, Part], Set[str]]) -> dict[str, int]:
    """The number of queries that two parts share, by PART_and_PART: always 0.

    >>> check_disjoint({("rm", "test"): set()})
    {'rm_and_test': 0}

    Args:
        shared: The normalized queries that two parts share.

    Raises:
        UserError: Two parts share a query.
    """
    overlaps = {}
    for (first, second), keys in shared.items():
        if keys:
            raise UserError(
                f"{first} and {second}",
                found=f"{len(keys)} queries in both, such as {min(keys)!r:.200}",
                expected="none",
                do="remove them from one of the two files, or let both be drawn (split: '')",
            )
        overlaps[f"{first}_and_{second}"] = 0
    return overlaps


class LeakageCheck:
    """Counts the training queries that are equal or nearly equal to an evaluation query: always 0.

    The check reads what is written, independently of the code that dropped rows. It may share the index of
    near-duplicates with that code, since near-duplicates follow from the texts alone. Queries that share only
    their first turn with an evaluation query are counted too.

    Args:
        evaluation: The normalized queries of each part that evaluates models.
        training: Each normalized query with its part, read once as a stream.
        first_turns: By part, how many of its queries have each first turn, see `first_turn_digest`.
        near_duplicate: The least Jaccard similarity of near-duplicates.
        shared_first_turn: Whether a shared first turn is leakage (`drop`).
    """

    def __init__(
        self,
        evaluation: Mapping[Part, Iterable[str]],
        training: Iterable[tuple[Part, str]],
        first_turns: Mapping[str, Mapping[bytes, int]],
        *,
        near_duplicate: float,
        shared_first_turn: Literal["keep", "drop"],
    ) -> None:
        self._first_turns, self._drops_first_turns = first_turns, shared_first_turn == "drop"
        self._part_of: dict[str, Part] = {
            key: part for part in sorted(evaluation) for key in evaluation[part]
        }
        self._index = near_duplicate_index(self._part_of, near_duplicate)  # may hold further texts
        # Cached because `drop_leaked` and `count` ask about the same row in turn.
        self._matches = lru_cache(maxsize=2)(self._find_matches)
        pairs = [f"{name}_and_{part}" for name, parts in EVALUATED_ON.items() for part in parts]
        self._equal, self._near, self._same_first_turn = (dict.fromkeys(pairs, 0) for _ in range(3))
        self._examples: dict[str, tuple[str, str]] = {}
        for part, key in training:
            if part in EVALUATED_ON:
                self._count_matches(part, key, self._index.find(key))
        for name in first_turns:
            for part in EVALUATED_ON.get(name, ()):
                shared = first_turns[name].keys() & first_turns[part].keys()
                self._same_first_turn[f"{name}_and_{part}"] = sum(first_turns[name][turn] for turn in shared)

    def drop_reason(self, name: str, row: Row) -> str | None:
        """Why a row must not train a model: `dropped`, `dropped_near`, `dropped_first_turn`, or None.

        A dialogue has a query before each of its answers, and each of them may be an evaluation query.

        Args:
            name: "demonstrations" or "documents".
            row: With `query`, or with `text`, which may be a dialogue.
        """
        is_equal = [
            key == match
            for key, matches in self._matches(_text_of(row))
            for match in matches
            if self._part_of.get(match) in EVALUATED_ON[name]
        ]
        if is_equal:
            return "dropped" if any(is_equal) else "dropped_near"
        if self._drops_first_turns and self._parts_with_first_turn(name, row):
            return "dropped_first_turn"
        return None

    def count(self, name: str, rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
        """Yields demonstrations or documents with their name, and counts the leakage in them."""
        for row in rows:
            for key, matches in self._matches(_text_of(row)):
                self._count_matches(name, key, matches)
            for part in self._parts_with_first_turn(name, row):
                self._same_first_turn[f"{name}_and_{part}"] += 1
            yield name, row

    def _find_matches(self, text: str) -> list[tuple[str, list[str]]]:
        return list(self._index.find_in_prefixes(query_keys(text)))

    def _parts_with_first_turn(self, name: str, row: Row) -> list[Part]:
        """The parts that evaluate models trained on the row and have a query with its first turn."""
        text = _text_of(row)
        if ASSISTANT not in text:
            return []
        turn = first_turn_digest(text)
        return [part for part in EVALUATED_ON[name] if turn in self._first_turns[part]]

    def _count_matches(self, name: str, key: str, matches: Iterable[str]) -> None:
        for match in matches:
            if self._part_of.get(match) in EVALUATED_ON[name]:
                pair = f"{name}_and_{self._part_of[match]}"
                (self._equal if key == match else self._near)[pair] += 1
                self._examples.setdefault(pair, (key, match))

    def result(self) -> dict[str, dict[str, int]]:
        """The counts by TRAINING_and_EVALUATION: `overlaps` and `near_duplicates`, which are always 0.

        `shared_first_turns` counts queries of a training part, and rows of demonstrations and documents.

        Raises:
            UserError: A training set has a query that is equal or nearly equal to an evaluation query.
        """
        if self._examples:
            pair, (key, match) = next(iter(self._examples.items()))
            raise UserError(
                pair.replace("_and_", " and "),
                found=f"{self._equal[pair]} equal queries and {self._near[pair]} near-duplicates, "
                f"such as {key!r:.200} and {match!r:.200}",
                expected="none",
                do="remove them from one of the two; `split` should have done so, which is a bug in it",
            )
        if self._drops_first_turns and any(self._same_first_turn.values()):
            pair = next(pair for pair, count in self._same_first_turn.items() if count)
            raise UserError(
                pair.replace("_and_", " and "),
                found=f"{self._same_first_turn[pair]} queries with the same first turn in both",
                expected="none (split.shared_first_turn: drop)",
                do="remove them from one of the two; `split` should have done so, which is a bug in it",
            )
        return {
            "overlaps": self._equal,
            "near_duplicates": self._near,
            "shared_first_turns": self._same_first_turn,
        }


def drop_leaked(
    rows: Iterable[Row], leakage: LeakageCheck, *, name: str, counts: Counter[str]
) -> Iterator[Row]:
    """The rows without a query that is equal or nearly equal to an evaluation query.

    Args:
        rows: Demonstrations or documents.
        name: "demonstrations" or "documents".
        counts: Receives `NAME_dropped`, `NAME_dropped_near` and, on request, `NAME_dropped_first_turn`.
    """
    for row in rows:
        reason = leakage.drop_reason(name, row)
        if reason:
            counts[f"{name}_{reason}"] += 1
        else:
            yield row


def _text_of(row: Row) -> str:
    return str(row.get("query") or row["text"])
