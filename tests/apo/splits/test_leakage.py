"""apo/splits/leakage.py: what leaks from training to evaluation is dropped, counted and refused."""

import doctest
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from apo.core.dialogue import normalize_query
from apo.core.errors import UserError
from apo.splits import leakage
from apo.splits.leakage import LeakageCheck, check_disjoint, drop_leaked
from apo.splits.near_duplicates import near_duplicate_index
from apo.splits.splitting import PARTS, first_turn_digest
from tests.helpers.split_queries import branch, long_query, query

PAIRS = ["rm_and_test", "rm_and_valid", "llm_and_test", "valid_and_test"]
PAIRS += [f"{name}_and_{part}" for name in ("demonstrations", "documents") for part in ("test", "valid")]


def check(shared_first_turn: str = "keep", **queries: str) -> LeakageCheck:
    """A check of parts with one query each."""
    by_part = {part: query(part) for part in PARTS} | queries
    keys = {part: {normalize_query(text)} for part, text in by_part.items()}
    turns = {part: Counter([first_turn_digest(text)]) for part, text in by_part.items()}

    def training() -> Iterator[tuple[str, str]]:
        return ((part, key) for part, part_keys in keys.items() for key in part_keys)

    return LeakageCheck(keys, training(), turns, near_duplicate=0.9, shared_first_turn=shared_first_turn)


def dropped(rows: list[dict[str, Any]], checked: LeakageCheck) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The documents that are kept, and the counts."""
    counts: Counter[str] = Counter()
    return list(drop_leaked(rows, checked, name="documents", counts=counts)), counts


def test_the_docstring_example() -> None:
    assert doctest.testmod(leakage) == (0, 1)


def test_check_disjoint_names_an_example() -> None:
    with pytest.raises(UserError, match=r"llm and test: found 2 queries in both, such as 'b'"):
        check_disjoint({("rm", "llm"): set(), ("llm", "test"): {"d", "b"}})


TEST_X = check(test=query("x"))


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"query": query("x"), "response": "r"}, False),
        ({"query": query("X !"), "response": "r"}, False),
        ({"query": query("y"), "response": "about question x"}, True),
        ({"query": branch("x", "why?"), "response": "r"}, False),
        ({"query": query("y", f" Yes{query('x')}"), "response": "r"}, True),
        ({"text": query("x", " Yes")}, False),
        ({"text": query("x")}, False),
        ({"text": branch("x", "why?") + " so"}, False),
        ({"text": query("x", " Yes\n\nAssistant: invented")}, False),
        ({"text": query("x", " Yes\n\nHuman: and")}, False),
        ({"text": query("y", " Yes")}, True),
        ({"text": query("xy", " Yes")}, True),
        ({"text": "Human question x assistant"}, True),
        ({"text": ""}, True),
    ],
)
def test_drop_leaked_drops_a_row_with_an_evaluation_query(row: dict[str, str], kept: bool) -> None:
    assert dropped([row], TEST_X) == ([row] * kept, {} if kept else {"documents_dropped": 1})


def test_drop_leaked_looks_at_every_turn() -> None:
    later = branch("x", "why?")
    rows = [{"text": f"{query('x')} Yes"}, {"text": f"{later} so"}, {"query": later, "response": "so"}]
    assert dropped(rows, check(test=later))[0] == rows[:1]


def test_drop_leaked_counts_near_duplicates_apart() -> None:
    near = long_query("x", "there")
    rows = [
        {"query": near, "response": "r"},
        {"text": f"{near} Yes\n\nHuman: why?\n\nAssistant: so"},
        {"text": f"{near} Yes{long_query('x')}"},
        {"text": long_query("x") + " Yes"},
        {"text": long_query("y") + " Yes"},
    ]
    kept, counts = dropped(rows, check(test=long_query("x")))
    assert kept == rows[-1:]
    assert counts == {"documents_dropped_near": 3, "documents_dropped": 1}


def test_result_is_zero_without_leakage() -> None:
    checked = check()
    rows = [{"text": query("another") + " Yes"}, {"text": query("llm") + " Yes"}, {"text": "no dialogue"}]
    assert list(checked.count("documents", rows)) == [("documents", row) for row in rows]
    names = ("overlaps", "near_duplicates", "shared_first_turns")
    assert checked.result() == {name: dict.fromkeys(PAIRS, 0) for name in names}


@pytest.mark.parametrize("pair", [("rm", "test"), ("llm", "test"), ("valid", "test"), ("rm", "valid")])
def test_result_refuses_leakage_between_parts(pair: tuple[str, str]) -> None:
    first, second = pair
    checked = check(**{first: long_query("x"), second: long_query("x", "there")})
    message = "found 0 equal queries and 1 near-duplicates, such as 'human question x 0 .*x"
    with pytest.raises(UserError, match=rf"^{first} and {second}: {message}"):
        checked.result()


def test_result_allows_near_duplicates_in_parts_that_do_not_evaluate_each_other() -> None:
    check(llm=long_query("x"), valid=long_query("x", "there")).result()
    check(llm=long_query("x"), rm=long_query("x", "there")).result()


@pytest.mark.parametrize("name", ["demonstrations", "documents"])
@pytest.mark.parametrize("part", ["test", "valid"])
def test_count_counts_leakage_of_other_rows_and_result_refuses_it(name: str, part: str) -> None:
    checked = check(**{part: long_query("x")})
    rows = [
        {"text": long_query("x", "there") + " Yes"},
        {"text": long_query("y") + " Yes"},
        {"text": long_query("x") + " Yes" + long_query("z") + " why"},
        {"text": long_query("x", "then")},
    ]
    assert [row for _, row in checked.count(name, rows)] == rows
    with pytest.raises(UserError, match=rf"^{name} and {part}: found 1 equal queries and 2 near-duplicates,"):
        checked.result()


def test_leakage_check_ignores_further_texts_of_a_shared_index() -> None:
    parts = [normalize_query(query(part)) for part in PARTS]
    near_duplicate_index([*parts, normalize_query(long_query("x"))], 0.9)
    checked = check(rm=long_query("x", "there"))
    rows = [{"text": long_query("x", "there") + " Yes"}, {"text": long_query("x") + " Yes"}]
    assert dropped(rows, checked)[0] == rows
    assert [row for _, row in checked.count("documents", rows)] == rows
    checked.result()


def test_result_counts_or_refuses_shared_first_turns() -> None:
    queries = {"rm": branch("x", "why?"), "valid": branch("x", "how?"), "test": branch("x", "who?")}
    rows = [{"text": query("x") + " Yes"}, {"text": query("y") + " Yes"}, {"text": "question x"}]
    checked = check(**queries)
    assert [row for _, row in checked.count("documents", rows)] == rows
    shared = checked.result()["shared_first_turns"]
    expected = {"rm_and_test", "rm_and_valid", "valid_and_test", "documents_and_test", "documents_and_valid"}
    assert shared == {pair: int(pair in expected) for pair in PAIRS}
    strict = check("drop", **queries)
    assert dropped(rows, strict) == (rows[1:], {"documents_dropped_first_turn": 1})
    with pytest.raises(UserError, match=r"^rm and test: found 1 queries with the same first turn"):
        strict.result()
