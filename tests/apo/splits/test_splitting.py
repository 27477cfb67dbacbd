"""apo/splits/splitting.py: stable draws, given parts that take precedence, no query in two parts."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from math import sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.dialogue import ASSISTANT, HUMAN, normalize_query
from apo.core.errors import UserError
from apo.splits.near_duplicates import NearDuplicateIndex
from apo.splits.splitting import PARTS, assign, first_turn_digest, split_rows
from tests.helpers.split_queries import FRACTIONS, branch, name_drawn_into, query, row, split

Row = dict[str, Any]


def part_of(text: str, given_part: str = "", **changes: Any) -> str:
    return assign(text, given_part, **{"seed": 1, **FRACTIONS, **changes})


# One row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_assign_gives_each_type_its_fractions_within_the_deviation_of_a_draw(seed: int) -> None:
    expected = {"test": 0.2, "rm": 0.8 * 0.5, "valid": 0.8 * 0.5 * 0.1, "llm": 0.8 * 0.5 * 0.9}
    for name, size in (("small", 300), ("middle", 2000), ("large", 6000)):
        parts = Counter(part_of(query(f"{name} {n}"), seed=seed) for n in range(size))
        for part, fraction in expected.items():
            assert abs(parts[part] / size - fraction) < 4.5 * sqrt(fraction * (1 - fraction) / size)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"test_fraction": 1.0}, "test"),
        ({"test_fraction": 0.0, "rm_fraction": 1.0}, "rm"),
        ({"test_fraction": 0.0, "rm_fraction": 0.0, "valid_fraction": 0.0}, "llm"),
        ({"test_fraction": 0.0, "rm_fraction": 0.0, "valid_fraction": 1.0}, "valid"),
    ],
)
def test_assign_with_a_fraction_of_zero_or_one(changes: dict[str, float], part: str) -> None:
    assert {part_of(query(n), **changes) for n in range(50)} == {part}


def test_assign_never_changes_for_a_seed() -> None:
    parts = [part_of(query(n)) for n in range(12)]
    assert parts == ["rm", "test", "rm", "llm", "test", "rm", "rm", "rm", "llm", "llm", "rm", "test"]


@given(st.integers(0, 2**31 - 2))
@settings(max_examples=20)
def test_assign_changes_with_the_seed(seed: int) -> None:
    first, second = ([part_of(query(n), seed=s) for n in range(200)] for s in (seed, seed + 1))
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 50


def test_assign_with_a_changed_fraction_moves_only_queries_of_that_fraction() -> None:
    for n in range(200):
        before = part_of(query(n))
        assert part_of(query(n), test_fraction=0.4) in (before, "test")
        after = part_of(query(n), valid_fraction=0.5)
        assert after == before or (before, after) == ("llm", "valid")


def test_assign_keeps_dialogues_with_the_same_first_turn_together() -> None:
    for n in range(50):
        assert len({part_of(text) for text in (query(n), branch(n, "why?"), query(f"{n}!"))}) == 1


def test_assign_keeps_a_given_part_and_draws_validation_from_llm() -> None:
    for part in ("rm", "test"):
        assert {part_of(query(n), part) for n in range(50)} == {part}
    parts = Counter(part_of(query(n), "llm") for n in range(500))
    assert parts.keys() == {"llm", "valid"}
    assert 20 < parts["valid"] < 80


# Many rows -----------------------------------------------------------------------------------------


def test_split_rows_returns_or_counts_every_row_and_gives_disjoint_parts() -> None:
    rows = [row(n % 70, ("", "rm", "llm", "test")[n % 4 if n % 3 else 0]) for n in range(400)]
    pairs, counts = split(rows)
    assert counts["rows"] == 400 == len(pairs) + counts["dropped_in_test"]
    assert counts["dropped_in_test"] > 0
    keys: dict[str, set[str]] = {part: set() for part in PARTS}
    for part, kept in pairs:
        keys[part].add(normalize_query(kept["query"]))
    assert all(counts[f"rows_{part}"] == sum(p == part for p, _ in pairs) for part in PARTS)
    assert not [pair for pair in combinations(PARTS, 2) if keys[pair[0]] & keys[pair[1]]]


@pytest.mark.parametrize(
    ("given_parts", "valid_fraction", "parts", "counted"),
    [
        (("rm", "llm"), 0.0, ["llm", "llm"], {"moved_rm_to_llm": 1, "rows_llm": 2}),
        (("llm", "rm"), 0.0, ["llm", "llm"], {"moved_rm_to_llm": 1, "rows_llm": 2}),
        (("rm", "llm"), 1.0, ["valid", "valid"], {"moved_rm_to_valid": 1, "rows_valid": 2}),
        (("rm", "test"), 0.0, ["test"], {"dropped_in_test": 1, "rows_test": 1}),
        (("test", "llm"), 0.0, ["test"], {"dropped_in_test": 1, "rows_test": 1}),
        (("rm", "rm"), 0.0, ["rm", "rm"], {"rows_rm": 2}),
    ],
)
def test_split_rows_resolves_a_query_in_several_given_parts(
    given_parts: tuple[str, ...], valid_fraction: float, parts: list[str], counted: dict[str, int]
) -> None:
    pairs, counts = split([row("x", part) for part in given_parts], valid_fraction=valid_fraction)
    assert [part for part, _ in pairs] == parts
    assert counts == {"rows": 2, **counted}


@pytest.mark.parametrize("given_part", ["rm", "llm"])
@pytest.mark.parametrize("drawn", ["rm", "llm", "test"])
def test_split_rows_moves_a_drawn_row_to_the_given_part_of_its_query(drawn: str, given_part: str) -> None:
    name = name_drawn_into(drawn, valid_fraction=0.0)
    pairs, counts = split([row(name), row(f"{name}?", given_part)], valid_fraction=0.0)
    assert [part for part, _ in pairs] == [given_part, given_part]
    assert counts[f"moved_{drawn}_to_{given_part}"] == (drawn != given_part)


@pytest.mark.parametrize("part", ["valid", "train", None, 1])
def test_split_rows_refuses_an_unknown_part(part: object) -> None:
    with pytest.raises(UserError, match="comparison 2: found split"):
        split([row(1), {"query": query(2), "split": part}])


def test_split_rows_reads_the_rows_twice_as_a_stream() -> None:
    read: list[int] = []

    def rows() -> Iterator[Row]:
        for n in range(100):
            read.append(n)
            yield row(n)

    options = {"seed": 1, "near_duplicate": 0.9, "shared_first_turn": "keep"} | FRACTIONS
    pairs = split_rows(rows, counts=Counter(), **options)
    next(pairs)
    assert len(read) == 101
    assert sum(1 for _ in pairs) == 99
    assert len(read) == 200


TIMED = """
import time
from collections import Counter
from apo.splits.splitting import split_rows

tail = " an answer\\n\\nHuman: and another question\\n\\nAssistant:" * 8
rows = [{"query": f"\\n\\nHuman: question {n}\\n\\nAssistant:{tail}", "split": ""} for n in range(10_000)]
start = time.process_time()
settings = {"rm_fraction": 0.5, "valid_fraction": 0.1, "test_fraction": 0.1, "near_duplicate": 0.9}
for _ in split_rows(lambda: rows, seed=1, shared_first_turn="keep", counts=Counter(), **settings):
    pass
print(time.process_time() - start)
"""


def test_split_rows_takes_less_than_two_seconds_for_ten_thousand_rows() -> None:
    # In a process of its own, without the type checks of the tests.
    seconds = subprocess.run([sys.executable, "-c", TIMED], check=True, capture_output=True, text=True).stdout
    assert float(seconds) < 2.0


# Properties of any rows ----------------------------------------------------------------------------


WORDS = st.sampled_from(["why", "How", "3*3", "é", "\u2019s", "...", "one", "two", "three", "- 4"])
TURN = st.lists(WORDS, max_size=4).map(" ".join)

QUERY = st.lists(TURN, min_size=1, max_size=3).map(
    lambda turns: f"{ASSISTANT} so".join(f"{HUMAN} {turn}" for turn in turns) + ASSISTANT
)

DRAWN = st.builds(lambda text: {"query": text, "split": ""}, QUERY)

GIVEN = st.builds(
    lambda text, part: {"query": text, "split": part}, QUERY, st.sampled_from(["", "rm", "llm", "test"])
)


def parts_by_query(rows: list[Row], **changes: Any) -> dict[str, str]:
    """The part of each normalized query that is in one."""
    parts: dict[str, str] = {}
    changes = {"valid_fraction": 0.3, "test_fraction": 0.3} | changes
    for part, kept in split(rows, **changes)[0]:
        assert parts.setdefault(normalize_query(kept["query"]), part) == part
    return parts


@given(st.lists(DRAWN, max_size=12), st.lists(DRAWN, max_size=12), st.integers(0, 12))
def test_split_rows_with_new_rows_moves_no_old_row(old: list[Row], new: list[Row], index: int) -> None:
    """A new evaluation row may drop an old row that is nearly the same."""
    before, after = parts_by_query(old), parts_by_query([*old[:index], *new, *old[index:]])
    assert before.keys() | after.keys() >= {normalize_query(kept["query"]) for kept in old if kept in new}
    assert all(after[key] == part for key, part in before.items() if key in after)
    evaluation = [key for key, part in after.items() if part in ("test", "valid")]
    near = NearDuplicateIndex(evaluation, 0.9)
    assert all(near.find(key) for key in before.keys() - after.keys())


@given(st.lists(GIVEN, max_size=12).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_split_rows_does_not_depend_on_the_order_of_the_rows(orders: tuple[list[Row], list[Row]]) -> None:
    for policy in ("keep", "drop"):
        first, second = (parts_by_query(rows, shared_first_turn=policy) for rows in orders)
        assert first == second


@given(st.lists(DRAWN, max_size=12), st.integers(0, 2**31 - 1))
def test_split_rows_draws_one_part_for_a_first_turn(rows: list[Row], seed: int) -> None:
    parts = parts_by_query(rows, seed=seed)
    parts_by_turn: dict[bytes, set[str]] = {}
    for kept in rows:
        if (key := normalize_query(kept["query"])) in parts:
            parts_by_turn.setdefault(first_turn_digest(kept["query"]), set()).add(parts[key])
    assert all(len(of_turn) == 1 for of_turn in parts_by_turn.values())


@given(st.lists(GIVEN, max_size=12))
def test_split_rows_with_drop_shares_no_first_turn_with_evaluation(rows: list[Row]) -> None:
    turns: dict[str, set[bytes]] = {part: set() for part in PARTS}
    options = {"valid_fraction": 0.3, "test_fraction": 0.3, "shared_first_turn": "drop"}
    for part, kept in split(rows, **options)[0]:
        turns[part].add(first_turn_digest(kept["query"]))
    for part in ("rm", "llm", "valid"):
        assert not turns[part] & turns["test"]
    assert not turns["rm"] & turns["valid"]
