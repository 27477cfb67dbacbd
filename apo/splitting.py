"""Which part a query belongs to: RM training, LLM training, validation or test.

A row is drawn by a hash of the seed and the first human turn of its query, so that dialogues that branch
from one beginning stay together and a row's part does not change when other rows come or go. What would
be trained on a query and measured on one that is nearly the same is left out of the training.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from itertools import combinations
from typing import Literal, cast

from apo.dialogue import ASSISTANT, first_turn, normalise_query
from apo.duplicates import NearDuplicates
from apo.errors import UserError
from apo.records import Row

Part = Literal["rm", "llm", "valid", "test"]
Near = Callable[[str], Iterable[str]]
PARTS: tuple[Part, ...] = ("rm", "llm", "valid", "test")  # where a query is in several, the later one has it
MEASURED_ON: dict[str, tuple[Part, ...]] = {  # what models are measured on that are trained on a part or file
    "rm": ("test", "valid"),
    "llm": ("test",),
    "valid": ("test",),  # it trains the testing RM
    "demonstrations": ("test", "valid"),
    "documents": ("test", "valid"),
}

_key = lru_cache(maxsize=64)(normalise_query)  # rows are looked at several times, one soon after the other


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
    key = f"{seed}:{_key(first_turn(query))}"
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
    counts: Counter[str],
) -> Iterator[tuple[Part, Row]]:
    """Every row with its part: no normalised query is in two parts, none is near one that measures it.

    A part that the source gives wins over one that is drawn. Where that still leaves a query in several,
    test wins over valid over llm over rm. Training rows of a test query are left out; others are moved.
    Then rows near a query of test are left out of all other parts, and rows near one of valid out of rm.

    Args:
        rows: Called twice; gives the rows, in the same order, with `query` and `split` ("" to draw).
        seed: See `assign`, as for the fractions.
        near_duplicate: Jaccard similarity from which two queries are near-duplicates, above 0 to 1.
        counts: Receives `rows`, `rows_PART`, `moved_PART_to_PART`, `dropped_in_test` and
            `dropped_near_PART_PART`: the part of the query that it is near, the part it was dropped from.

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
    drawn = bytearray()  # the part of each row before any other row was looked at
    measuring: dict[bytes, str] = {}  # keys of queries that may be valid's or test's
    for number, row in enumerate(rows(), start=1):
        _check_given(row, number)
        drawn.append(PARTS.index(own_part(row)))
        claim = drawn[-1] + (len(PARTS) if row["split"] else 0)
        key = _key(row["query"])
        digest = _digest(key)
        claims[digest] = max(claims.get(digest, 0), claim)
        if PARTS[drawn[-1]] in ("valid", "test"):
            measuring[digest] = key

    def keys_of(part: Part) -> Iterator[str]:
        return (key for digest, key in measuring.items() if PARTS[claims[digest] % len(PARTS)] == part)

    part_of: dict[str, Part] = {key: part for part in ("test", "valid") for key in keys_of(part)}
    aside = NearDuplicates(part_of, near_duplicate)

    def measured_near(key: str, part: Part) -> Part | None:
        """What has a query near this one of a part, and measures models that are trained on the part."""
        if part not in MEASURED_ON:
            return None
        near = {part_of[other] for other in aside.of(key) if other in part_of}
        return next((other for other in MEASURED_ON[part] if other in near), None)

    for key in keys_of("valid"):
        if measured_near(key, "valid"):
            del part_of[key]  # it will be left out and measures nothing
    for row, index in zip(rows(), drawn, strict=True):
        key = _key(row["query"])
        own, part = PARTS[index], PARTS[claims[_digest(key)] % len(PARTS)]
        counts["rows"] += 1
        if own != part and part == "test":
            counts["dropped_in_test"] += 1
            continue
        if measured := measured_near(key, part):
            counts[f"dropped_near_{measured}_{part}"] += 1
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


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


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
            self._of[part].setdefault(_key(row["query"]), query)
            yield part, {key: value for key, value in row.items() if key != "split"}

    def keys(self) -> dict[str, Set[str]]:
        """The normalised queries of each part, in their order."""
        return {part: queries.keys() for part, queries in self._of.items()}

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
                    do="give files for it under data.files, or a larger split.*_fraction in params.yaml "
                    "(a larger split.near_duplicate, if all queries begin with one long text)",
                )


class Leaks:
    """Counts the queries that something is trained on and, equal or nearly so, measured on.

    It looks at what is written, whatever left rows out before; what it counts must be 0.

    Attributes:
        near: The queries of valid and of test that are near-duplicates of a key, equal ones too.
    """

    def __init__(self, parts: Mapping[str, Set[str]], near_duplicate: float) -> None:
        measuring = {part for others in MEASURED_ON.values() for part in others}
        self._part_of = {key: part for part in sorted(measuring) for key in parts[part]}
        # Remembered for the proof, which asks about a row soon after `unseen` did.
        self.near = lru_cache(maxsize=64)(NearDuplicates(self._part_of, near_duplicate).of)
        pairs = [f"{name}_and_{other}" for name, others in MEASURED_ON.items() for other in others]
        self._equal, self._near = dict.fromkeys(pairs, 0), dict.fromkeys(pairs, 0)
        self._examples: dict[str, tuple[str, str]] = {}
        for part in parts:
            for key in parts[part]:
                self._look(part, key)

    def watch(self, name: str, rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
        """Passes demonstrations or documents on, with their name, and looks at each query in them."""
        for row in rows:
            for key in _keys_in(row):
                self._look(name, key)
            yield name, row

    def _look(self, name: str, key: str) -> None:
        for other in self.near(key) if name in MEASURED_ON else ():
            if self._part_of[other] in MEASURED_ON[name]:
                pair = f"{name}_and_{self._part_of[other]}"
                (self._equal if key == other else self._near)[pair] += 1
                self._examples.setdefault(pair, (key, other))

    def prove_none(self) -> dict[str, dict[str, int]]:
        """`overlaps` and `near_duplicates`: queries of a training set by what measures it, always 0.

        Raises:
            UserError: A training set has a query, or nearly, on which its models are measured.
        """
        if self._examples:
            pair, (key, other) = next(iter(self._examples.items()))
            raise UserError(
                pair.replace("_and_", " and "),
                found=f"{self._equal[pair]} equal queries and {self._near[pair]} near-duplicates, "
                f"such as {key!r:.200} and {other!r:.200}",
                expected="none",
                do="remove them from one of the two; that `split` did not is a mistake in it",
            )
        return {"overlaps": self._equal, "near_duplicates": self._near}


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


def unseen(rows: Iterable[Row], near: Near, *, name: str, counts: Counter[str]) -> Iterator[Row]:
    """Rows for training in which no query is set aside or near to one that is.

    A row has `query`, or `text`: a dialogue or something else. A dialogue has a query before each of its
    answers: what follows the first one answers a query too, and may be the answer to one that is set aside.

    Args:
        rows: Demonstrations or documents.
        near: Gives the keys that are set aside and near to a key, equal ones too.
        name: Of the rows in the counts.
        counts: Receives `NAME_dropped`, rows with a query that is set aside, and `NAME_dropped_near`.
    """
    for row in rows:
        found = [(key, other) for key in _keys_in(row) for other in near(key)]
        if not found:
            yield row
        elif any(key == other for key, other in found):
            counts[f"{name}_dropped"] += 1
        else:
            counts[f"{name}_dropped_near"] += 1


def _keys_in(row: Row) -> Iterator[str]:
    return map(_key, _queries_in(row.get("query") or row["text"]))


def _queries_in(text: str) -> Iterator[str]:
    end = text.find(ASSISTANT)
    while end >= 0:
        end += len(ASSISTANT)
        yield text[:end]
        end = text.find(ASSISTANT, end)
