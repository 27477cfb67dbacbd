"""Which part a query belongs to: RM training, LLM training, validation or test.

A row is drawn by a hash of the seed and the first human turn of its query, so that dialogues that branch
from one beginning stay together and a row's part does not change when other rows come or go.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import combinations
from typing import Literal, cast

from apo.dialogue import ASSISTANT, first_turn, normalise_query
from apo.errors import UserError
from apo.records import Row

Part = Literal["rm", "llm", "valid", "test"]
PARTS: tuple[Part, ...] = ("rm", "llm", "valid", "test")  # where a query is in several, the later one has it


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
    key = f"{seed}:{normalise_query(first_turn(query))}"
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
    counts: Counter[str],
) -> Iterator[tuple[Part, Row]]:
    """Every row with its part, such that no normalised query is in two parts.

    A part that the source gives wins over one that is drawn. Where that still leaves a query in several,
    test wins over valid over llm over rm. Training rows of a test query are left out; others are moved.

    Args:
        rows: Called twice; gives the rows, in the same order, with `query` and `split` ("" to draw).
        seed: See `assign`, as for the fractions.
        counts: Receives `rows`, `rows_PART`, `moved_PART_to_PART` and `dropped_in_test`.

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

    claims: dict[bytes, int] = {}
    for number, row in enumerate(rows(), start=1):
        _check_given(row, number)
        claim = PARTS.index(own_part(row)) + (len(PARTS) if row["split"] else 0)
        key = _digest(row["query"])
        claims[key] = max(claims.get(key, 0), claim)
    for row in rows():
        own, part = own_part(row), PARTS[claims[_digest(row["query"])] % len(PARTS)]
        counts["rows"] += 1
        if own != part and part == "test":
            counts["dropped_in_test"] += 1
            continue
        if own != part:
            counts[f"moved_{own}_to_{part}"] += 1
        counts[f"rows_{part}"] += 1
        yield part, row


def _check_given(row: Row, number: int) -> None:
    if row.get("split") not in ("", "rm", "llm", "test"):
        raise UserError(
            f"comparison {number}",
            found=f"split {row.get('split')!r}",
            expected="'rm', 'llm' or 'test', or '' to draw one",
            do="correct the row, or the parameter that names the part of its file",
        )


def _digest(query: str) -> bytes:
    return hashlib.blake2b(normalise_query(query).encode(), digest_size=16).digest()


def prove_disjoint(parts: Mapping[str, Set[str]]) -> dict[str, int]:
    """How many keys each pair of parts shares, by names joined with `_and_`: always 0.

    >>> prove_disjoint({"rm": {"a"}, "test": {"b"}})
    {'rm_and_test': 0}

    Raises:
        UserError: Two parts share a key.
    """
    overlaps = {}
    for one, other in combinations(parts, 2):
        shared = parts[one] & parts[other]
        if shared:
            raise UserError(
                f"{one} and {other}",
                found=f"{len(shared)} queries in both, such as {min(shared)!r:.200}",
                expected="none",
                do="remove them from one of the two files, or let both be drawn (split: '')",
            )
        overlaps[f"{one}_and_{other}"] = 0
    return overlaps


class Queries:
    """The distinct queries of every part, in the order in which they come."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Row]] = {part: {} for part in PARTS}

    def watch(self, rows: Iterable[tuple[Part, Row]]) -> Iterator[tuple[Part, Row]]:
        """Passes rows on and remembers their queries."""
        for part, row in rows:
            query = {"query_id": row["query_id"], "query": row["query"], "type": row["type"]}
            self._of[part].setdefault(normalise_query(row["query"]), query)
            yield part, {key: value for key, value in row.items() if key != "split"}

    def keys(self) -> dict[str, set[str]]:
        """The normalised queries of each part."""
        return {part: set(queries) for part, queries in self._of.items()}

    def of(self, part: Part) -> list[Row]:
        """Rows `{query_id, query, type}` of a part."""
        return list(self._of[part].values())

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
                    do="give files for it under data.files, or a larger split.*_fraction in params.yaml",
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


def unseen(rows: Iterable[Row], aside: Set[str], *, name: str, counts: Counter[str]) -> Iterator[Row]:
    """Rows for training in which no query is set aside; the others are counted as `NAME_dropped`.

    A row has `query`, or `text`: a dialogue or something else. A dialogue has a query before each of its
    answers: what follows the first one answers a query too, and may be the answer to one that is set aside.
    """
    for row in rows:
        if any(normalise_query(query) in aside for query in _queries_in(row.get("query") or row["text"])):
            counts[f"{name}_dropped"] += 1
        else:
            yield row


def _queries_in(text: str) -> Iterator[str]:
    end = text.find(ASSISTANT)
    while end >= 0:
        end += len(ASSISTANT)
        yield text[:end]
        end = text.find(ASSISTANT, end)
