"""Assigns each row to a part: RM training, LLM training, validation or test.

The part is drawn by a hash of the seed and the first human turn of the query. Dialogues that branch from one
first turn stay together, and a row's part does not change when other rows are added or removed. The fractions
hold per type of query up to the standard deviation of a draw, sqrt(f (1 - f) / n) for n first turns; exact
quotas would move old rows when new ones are added. A training row that is nearly equal to an evaluation query
is dropped.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, cast

from apo.core.dialogue import digest_of, first_turn, normalize_query
from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.near_duplicates import near_duplicate_index

Part = Literal["rm", "llm", "valid", "test"]
PARTS: tuple[Part, ...] = ("rm", "llm", "valid", "test")  # a query in several parts is in the last of them
EVALUATED_ON: dict[str, tuple[Part, ...]] = {  # the parts that evaluate models trained on a part or file
    "rm": ("test", "valid"),
    "llm": ("test",),
    "valid": ("test",),  # it trains the testing RM
    "demonstrations": ("test", "valid"),
    "documents": ("test", "valid"),
}


@lru_cache(maxsize=64)
def first_turn_digest(query: str) -> bytes:
    """A hash of the normalized first human turn, which all dialogues that branch from it share."""
    return digest_of(normalize_query(first_turn(query)))


def assign(
    query: str, given: str, *, seed: int, rm_fraction: float, valid_fraction: float, test_fraction: float
) -> Part:
    """The part of a query.

    Args:
        query: The query in the HH form.
        given: The part in the source: "rm", "llm" or "test", or "" to draw it.
        rm_fraction: RM fraction of the training queries, 0 to 1.
        valid_fraction: Validation fraction of the LLM queries, drawn or given, 0 to 1.
        test_fraction: Test fraction of the queries whose part is drawn, 0 to 1.
    """
    test_draw, rm_draw, valid_draw = _uniform_draws(query, seed)
    part = given
    if not given:
        part = "test" if test_draw < test_fraction else "rm" if rm_draw < rm_fraction else "llm"
    return "valid" if part == "llm" and valid_draw < valid_fraction else cast(Part, part)


def _uniform_draws(query: str, seed: int) -> tuple[float, float, float]:
    """Three independent uniform numbers in [0, 1): no fraction changes the draw of another one."""
    key = f"{seed}:{normalize_query(first_turn(query))}"
    digest = hashlib.sha256(key.encode()).digest()
    test, rm, valid = (int.from_bytes(digest[i : i + 8]) / 2**64 for i in (0, 8, 16))
    return test, rm, valid


def split_rows(
    rows: Callable[[], Iterable[Row]],
    *,
    seed: int,
    rm_fraction: float,
    valid_fraction: float,
    test_fraction: float,
    near_duplicate: float,
    shared_first_turn: Literal["keep", "drop"],
    counts: Counter[str],
) -> Iterator[tuple[Part, Row]]:
    """Every row with its part: no normalized query is in two parts or near one that evaluates it.

    A given part takes precedence over a drawn one. If a query is still in several parts, test takes
    precedence over valid, valid over llm and llm over rm: training rows of a test query are dropped, other
    rows move. Then rows near a test query are dropped from all other parts, and rows near a valid query from
    rm.

    Dialogues with the same first turn are drawn together. Given parts may separate them; on request such rows
    are dropped like near-duplicates.

    Args:
        rows: Called twice; gives the rows, in the same order, with `query` and `split` ("" to draw).
        rm_fraction, valid_fraction, test_fraction: See `assign`.
        near_duplicate: The least Jaccard similarity of near-duplicates, above 0 to 1.
        shared_first_turn: Whether to keep a row that shares its first turn with a query that evaluates it.
        counts: Receives `rows`, `rows_PART`, `moved_PART_to_PART`, `dropped_in_test`, and
            `dropped_near_PART_PART` and `dropped_first_turn_PART_PART` with the part of the evaluation query
            and the part of the dropped row.

    Raises:
        UserError: The part of a row is invalid.
    """
    fractions = {"rm_fraction": rm_fraction, "valid_fraction": valid_fraction, "test_fraction": test_fraction}
    compares_first_turns = shared_first_turn == "drop"
    assignment = _Assignment(rows(), seed, fractions, compares_first_turns)
    held_out = _HeldOut(assignment.queries_in("test"), assignment.queries_in("valid"), near_duplicate)
    for row, drawn in zip(rows(), assignment.drawn, strict=True):
        key = normalize_query(row["query"])
        turn = first_turn_digest(row["query"]) if compares_first_turns else b""
        part = assignment.part_of(key)
        moved_from = PARTS[drawn] if PARTS[drawn] != part else None
        counts["rows"] += 1
        if moved_from and part == "test":
            counts["dropped_in_test"] += 1
        elif reason := held_out.drop_reason(key, turn, part):
            counts[f"dropped_{reason}"] += 1
        else:
            if moved_from:
                counts[f"moved_{moved_from}_to_{part}"] += 1
            counts[f"rows_{part}"] += 1
            yield part, row


class _Assignment:
    """The part of every query, after one pass over the rows.

    Args:
        rows: With `query` and `split`.
        fractions: See `assign`.
        compares_first_turns: Whether to collect the first turns of evaluation queries.

    Attributes:
        drawn: The index in `PARTS` of the part of each row, regardless of other rows.
    """

    def __init__(
        self, rows: Iterable[Row], seed: int, fractions: Mapping[str, float], compares_first_turns: bool
    ) -> None:
        self.drawn = bytearray()
        self._precedence: dict[bytes, int] = {}  # by digest: 0.1 GB for a million queries
        self._first_turns: dict[str, set[bytes]] = {}  # of queries that may be in valid or test
        for number, row in enumerate(rows, start=1):
            _check_given_part(row, number)
            drawn = PARTS.index(assign(row["query"], row["split"], seed=seed, **fractions))
            self.drawn.append(drawn)
            key = normalize_query(row["query"])
            digest, precedence = digest_of(key), drawn + (len(PARTS) if row["split"] else 0)
            self._precedence[digest] = max(self._precedence.get(digest, 0), precedence)
            if PARTS[drawn] in ("valid", "test"):
                turn = first_turn_digest(row["query"]) if compares_first_turns else b""
                self._first_turns.setdefault(key, set()).add(turn)

    def part_of(self, key: str) -> Part:
        """The part of a normalized query."""
        return PARTS[self._precedence[digest_of(key)] % len(PARTS)]

    def queries_in(self, part: Literal["valid", "test"]) -> dict[str, set[bytes]]:
        """The normalized queries of a part with the digests of their first turns."""
        return {key: turns for key, turns in self._first_turns.items() if self.part_of(key) == part}


class _HeldOut:
    """The queries of test and valid, and the decision which rows they exclude from training.

    Args:
        test: The normalized queries of test with the digests of their first turns.
        valid: The same of valid.
        threshold: The least Jaccard similarity of near-duplicates.
    """

    def __init__(self, test: dict[str, set[bytes]], valid: dict[str, set[bytes]], threshold: float) -> None:
        self._part_of: dict[str, Part] = dict.fromkeys(test, "test")
        self._part_of.update(dict.fromkeys(valid, "valid"))
        self._index = near_duplicate_index(self._part_of, threshold)
        self._first_turns: dict[Part, set[bytes]] = {"test": set().union(*test.values()), "valid": set()}
        for key, turns in valid.items():
            kept_turns = {turn for turn in turns if not self.drop_reason(key, turn, "valid")}
            self._first_turns["valid"] |= kept_turns
            if not kept_turns:
                del self._part_of[key]  # the query will be dropped and evaluates nothing

    def drop_reason(self, key: str, first_turn: bytes, part: Part) -> str | None:
        """`near_EVALUATION_PART` or `first_turn_EVALUATION_PART` if a part evaluates on the query, else None.

        Args:
            key: The normalized query.
            first_turn: The digest of its first turn, or empty if first turns may be shared.
            part: The part in which the query would be.
        """
        if part not in EVALUATED_ON:
            return None
        near_parts = {self._part_of[match] for match in self._index.find(key) if match in self._part_of}
        for evaluation in EVALUATED_ON[part]:
            if evaluation in near_parts:
                return f"near_{evaluation}_{part}"
            if first_turn and first_turn in self._first_turns[evaluation]:
                return f"first_turn_{evaluation}_{part}"
        return None


def _check_given_part(row: Row, number: int) -> None:
    if row.get("split") not in ("", "rm", "llm", "test"):
        raise UserError(
            f"comparison {number}",
            found=f"split {row.get('split')!r}",
            expected="'rm', 'llm' or 'test', or '' to draw one",
            do="correct the row, or the parameter that names the part of its file",
        )
