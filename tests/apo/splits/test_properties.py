"""Splitting, whatever the rows are: stable, blind to their order, true to its fractions."""

from collections import Counter
from math import sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.splits.near_duplicates import NearDuplicates
from apo.splits.splitting import assign, beginning_of, split_rows
from apo.text.dialogue import ASSISTANT, HUMAN, normalize_query, query_keys

FRACTIONS = {"rm_fraction": 0.5, "valid_fraction": 0.3, "test_fraction": 0.3}

WORDS = st.sampled_from(["why", "How", "3*3", "é", "\u2019s", "...", "one", "two", "three", "- 4"])
TURN = st.lists(WORDS, max_size=4).map(" ".join)
QUERY = st.lists(TURN, min_size=1, max_size=3).map(
    lambda turns: f"{ASSISTANT} so".join(f"{HUMAN} {turn}" for turn in turns) + ASSISTANT
)
DRAWN = st.builds(lambda query: {"query": query, "split": ""}, QUERY)
GIVEN = st.builds(
    lambda query, part: {"query": query, "split": part}, QUERY, st.sampled_from(["", "rm", "llm", "test"])
)


def parts_of(rows: list[dict[str, Any]], seed: int = 1, **more: Any) -> dict[str, str]:
    """The part of each normalised query that is in one."""
    options = {"near_duplicate": 0.9, "shared_first_turn": "keep", "counts": Counter()} | FRACTIONS | more
    parts: dict[str, str] = {}
    for part, row in split_rows(lambda: iter(rows), seed=seed, **options):
        assert parts.setdefault(normalize_query(row["query"]), part) == part
    return parts


@given(st.lists(DRAWN, max_size=12), st.lists(DRAWN, max_size=12), st.integers(0, 12))
def test_rows_that_come_move_no_old_row(old: list, new: list, where: int) -> None:
    """A new row of test may put an old one that is nearly the same out of the training, never elsewhere."""
    before = parts_of(old)
    after = parts_of([*old[:where], *new, *old[where:]])
    assert before.keys() | after.keys() >= {normalize_query(row["query"]) for row in old if row in new}
    assert all(after[key] == part for key, part in before.items() if key in after)
    measuring = [key for key, part in after.items() if part in ("test", "valid")]
    near = NearDuplicates(measuring, 0.9)
    assert all(near.of(key) for key in before.keys() - after.keys())


@given(st.lists(GIVEN, max_size=12).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_the_rows_changes_no_part(rows: tuple[list, list]) -> None:
    for policy in ("keep", "drop"):
        assert parts_of(rows[0], shared_first_turn=policy) == parts_of(rows[1], shared_first_turn=policy)


@given(st.lists(DRAWN, max_size=12), st.integers(0, 2**31 - 1))
def test_one_first_turn_is_in_one_part(rows: list, seed: int) -> None:
    parts = parts_of(rows, seed)
    found: dict[bytes, set[str]] = {}
    for row in rows:
        if (key := normalize_query(row["query"])) in parts:
            found.setdefault(beginning_of(row["query"]), set()).add(parts[key])
    assert all(len(own) == 1 for own in found.values())


@given(st.lists(GIVEN, max_size=12))
def test_with_drop_no_first_turn_trains_and_measures(rows: list) -> None:
    options = {"near_duplicate": 0.9, "shared_first_turn": "drop", "counts": Counter(), "seed": 1} | FRACTIONS
    begun: dict[str, set[bytes]] = {part: set() for part in ("rm", "llm", "valid", "test")}
    for part, row in split_rows(lambda: iter(rows), **options):
        begun[part].add(beginning_of(row["query"]))
    for part in ("rm", "llm", "valid"):
        assert not begun[part] & begun["test"]
    assert not begun["rm"] & begun["valid"]


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_each_kind_has_the_fractions_within_the_bounds_of_a_draw(seed: int) -> None:
    """Kinds of very different sizes, told from each other by nothing that the draw sees."""
    expected = {"test": 0.3, "rm": 0.7 * 0.5, "valid": 0.7 * 0.5 * 0.3, "llm": 0.7 * 0.5 * 0.7}
    for kind, size in (("small", 300), ("middle", 2000), ("large", 6000)):
        queries = [f"{HUMAN} {kind} question {n}{ASSISTANT}" for n in range(size)]
        found = Counter(assign(query, "", seed=seed, **FRACTIONS) for query in queries)
        for part, share in expected.items():
            assert abs(found[part] / size - share) < 4.5 * sqrt(share * (1 - share) / size)


@given(st.integers(0, 2**31 - 2))
@settings(max_examples=20)
def test_another_seed_is_another_split(seed: int) -> None:
    queries = [f"{HUMAN} question {n}{ASSISTANT}" for n in range(200)]
    drawn = [[assign(query, "", seed=s, **FRACTIONS) for query in queries] for s in (seed, seed, seed + 1)]
    assert drawn[0] == drawn[1]
    assert sum(one != other for one, other in zip(drawn[0], drawn[2], strict=True)) > 50


TEXT = st.lists(
    st.one_of(st.sampled_from([HUMAN, ASSISTANT, "-", "7", " ", "*", ")", "\u2019"]), st.text(max_size=3))
).map("".join)


@given(TEXT)
def test_the_keys_along_a_dialogue_are_those_of_its_queries(text: str) -> None:
    ends = [end + len(ASSISTANT) for end in range(len(text)) if text.startswith(ASSISTANT, end)]
    said: list[str] = []
    keys = []
    for piece in query_keys(text):
        said += piece
        keys.append(" ".join(said))
    assert keys == [normalize_query(text[:end]) for end in ends]


@given(st.lists(QUERY, max_size=6), QUERY, st.sampled_from([0.3, 0.7, 0.9, 1.0]))
def test_what_is_near_along_a_dialogue_is_what_is_near_each_query(
    aside: list[str], text: str, threshold: float
) -> None:
    near = NearDuplicates(map(normalize_query, aside), threshold)
    keys, said = [], []
    for piece in query_keys(text):
        said += piece
        keys.append(" ".join(said))
    expected = [(key, near.of(key)) for key in keys if near.of(key)]
    assert list(near.along(query_keys(text))) == expected
