"""Which part a query belongs to: RM training, LLM training, validation or test.

A row is drawn by a hash of the seed and the first human turn of its query, so that dialogues that branch
from one beginning stay together and a row's part does not change when other rows come or go. No row is
counted for that: each kind of query (`type`) has the fractions that the parameters say, but for the deviation
of a draw, sqrt(f (1 - f) / n) for n first turns. Exact quotas would have to move old rows when new ones come;
`by_type` in the metrics shows what a kind got. What would be trained on a query and measured on one that is
nearly the same is left out of the training.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Literal, cast

from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.near_duplicates import near_duplicates_among
from apo.text.dialogue import digest_of, first_turn, normalize_query

Part = Literal["rm", "llm", "valid", "test"]
PARTS: tuple[Part, ...] = ("rm", "llm", "valid", "test")  # where a query is in several, the later one has it
MEASURED_ON: dict[str, tuple[Part, ...]] = {  # what models are measured on that are trained on a part or file
    "rm": ("test", "valid"),
    "llm": ("test",),
    "valid": ("test",),  # it trains the testing RM
    "demonstrations": ("test", "valid"),
    "documents": ("test", "valid"),
}


@lru_cache(maxsize=64)
def beginning_of(query: str) -> bytes:
    """A digest of the first human turn: the same for all dialogues that branch from it."""
    return digest_of(normalize_query(first_turn(query)))


def assign(
    query: str, given: str, *, seed: int, rm_fraction: float, valid_fraction: float, test_fraction: float
) -> Part:
    """The part of a query.

    Args:
        query: In the HH form.
        given: What the source says: "rm", "llm" or "test", or "" where the part is to be drawn.
        seed: Of the draw.
        rm_fraction: RM share of the training queries, 0 to 1.
        valid_fraction: Validation share of the LLM queries, drawn or given, 0 to 1.
        test_fraction: Test share of the queries whose part is drawn, 0 to 1.
    """
    to_test, to_rm, to_valid = _draws(query, seed)
    part = given
    if not given:
        part = "test" if to_test < test_fraction else "rm" if to_rm < rm_fraction else "llm"
    return "valid" if part == "llm" and to_valid < valid_fraction else cast(Part, part)


def _draws(query: str, seed: int) -> tuple[float, float, float]:
    """Three independent uniform numbers in [0, 1), so that no fraction changes what another one draws."""
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
    """Every row with its part: no normalised query is in two parts, none is near one that measures it.

    A part that the source gives wins over one that is drawn. Where that still leaves a query in several,
    test wins over valid over llm over rm. Training rows of a test query are left out; others are moved.
    Then rows near a query of test are left out of all other parts, and rows near one of valid out of rm.

    Dialogues with one first turn are drawn together. Given parts may still tear them apart; then the same
    rows as near ones are left out on request.

    Args:
        rows: Called twice; gives the rows, in the same order, with `query` and `split` ("" to draw).
        seed: See `assign`, as for the fractions.
        near_duplicate: Jaccard similarity from which two queries are near-duplicates, above 0 to 1.
        shared_first_turn: Whether a row stays that shares the first turn with a query that measures it.
        counts: Receives `rows`, `rows_PART`, `moved_PART_to_PART`, `dropped_in_test`,
            `dropped_near_PART_PART`: the part of the query that it is near, the part it was dropped from,
            and likewise `dropped_first_turn_PART_PART`.

    Raises:
        UserError: A row gives a part that is none, or a fraction is not between 0 and 1.
    """
    fractions = {"rm_fraction": rm_fraction, "valid_fraction": valid_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise UserError(
                name, found=str(value), expected="a fraction from 0 to 1", do="correct it in params.yaml"
            )

    def own_part(row: Row) -> Part:
        return assign(row["query"], row["split"], seed=seed, **fractions)

    def begins(query: str) -> bytes:
        return beginning_of(query) if shared_first_turn == "drop" else b""

    claims: dict[bytes, int] = {}  # by the digest of the key: of a million queries 0.1 GB
    drawn = bytearray()  # the part of each row before any other row was looked at
    begun: dict[str, set[bytes]] = {}  # the first turns of queries that may be valid's or test's
    for number, row in enumerate(rows(), start=1):
        _check_given(row, number)
        drawn.append(PARTS.index(own_part(row)))
        claim = drawn[-1] + (len(PARTS) if row["split"] else 0)
        key = normalize_query(row["query"])
        digest = digest_of(key)
        claims[digest] = max(claims.get(digest, 0), claim)
        if PARTS[drawn[-1]] in ("valid", "test"):
            begun.setdefault(key, set()).add(begins(row["query"]))

    def final(key: str) -> Part:
        return PARTS[claims[digest_of(key)] % len(PARTS)]

    def measuring_in(part: Part) -> dict[str, set[bytes]]:
        return {key: beginnings for key, beginnings in begun.items() if final(key) == part}

    aside = _Aside(measuring_in("test"), measuring_in("valid"), near_duplicate)
    for row, index in zip(rows(), drawn, strict=True):
        key = normalize_query(row["query"])
        own, part = PARTS[index], final(key)
        counts["rows"] += 1
        if own != part and part == "test":
            counts["dropped_in_test"] += 1
            continue
        if why := aside.why_not(key, begins(row["query"]), part):
            counts[f"dropped_{why}"] += 1
            continue
        if own != part:
            counts[f"moved_{own}_to_{part}"] += 1
        counts[f"rows_{part}"] += 1
        yield part, row


class _Aside:
    """The queries that measure, and which row must not train what they measure."""

    def __init__(self, tests: dict[str, set[bytes]], valids: dict[str, set[bytes]], threshold: float) -> None:
        self._part_of: dict[str, Part] = dict.fromkeys(tests, "test")
        self._part_of.update(dict.fromkeys(valids, "valid"))
        self._near = near_duplicates_among(self._part_of, threshold)
        self._begun: dict[Part, set[bytes]] = {"test": set().union(*tests.values()), "valid": set()}
        for key, beginnings in valids.items():
            kept = {one for one in beginnings if not self.why_not(key, one, "valid")}
            self._begun["valid"] |= kept
            if not kept:
                del self._part_of[key]  # it will be left out and measures nothing

    def why_not(self, key: str, beginning: bytes, part: Part) -> str | None:
        """What measures models that are trained on the part, and is near the query or begins as it does.

        Args:
            key: Of the query.
            beginning: The digest of its first turn, empty where that does not count.
            part: In which the query would be.
        """
        if part not in MEASURED_ON:
            return None
        near = {self._part_of[other] for other in self._near.of(key) if other in self._part_of}
        for other in MEASURED_ON[part]:
            if other in near:
                return f"near_{other}_{part}"
            if beginning and beginning in self._begun[other]:
                return f"first_turn_{other}_{part}"
        return None


def _check_given(row: Row, number: int) -> None:
    if row.get("split") not in ("", "rm", "llm", "test"):
        raise UserError(
            f"comparison {number}",
            found=f"split {row.get('split')!r}",
            expected="'rm', 'llm' or 'test', or '' to draw one",
            do="correct the row, or the parameter that names the part of its file",
        )
