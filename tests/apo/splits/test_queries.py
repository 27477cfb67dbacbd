"""apo/splits/queries.py: each query of a part once, counts by type, queries without golden answers."""

from collections import Counter
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.splits.queries import MAX_TYPES, Queries, with_golden
from apo.splits.splitting import PARTS
from apo.text.dialogue import normalize_query
from tests.helpers.split_queries import query


def collected(names_by_part: list[tuple[str, str]]) -> tuple[list[tuple[str, dict[str, Any]]], Queries]:
    """What `collect` yields for rows of (part, name of the query), and the queries."""
    rows = [
        (part, {"query_id": f"{part}{n}", "query": query(name), "type": "t", "split": "", "scores": [n]})
        for n, (part, name) in enumerate(names_by_part)
    ]
    queries = Queries()
    return list(queries.collect(rows)), queries


def test_collect_passes_rows_on_without_their_given_part() -> None:
    rows, _ = collected([("rm", "x"), ("test", "y")])
    assert rows == [
        ("rm", {"query_id": "rm0", "query": query("x"), "type": "t", "scores": [0]}),
        ("rm_queries", {"query_id": "rm0", "query": query("x"), "type": "t"}),
        ("test", {"query_id": "test1", "query": query("y"), "type": "t", "scores": [1]}),
        ("test_queries", {"query_id": "test1", "query": query("y"), "type": "t"}),
    ]


def test_collect_yields_each_query_once_and_pop_parts_returns_them() -> None:
    names = [("rm", "b"), ("llm", "c"), ("rm", "a"), ("rm", "B!"), ("rm", "a"), ("test", "f"), ("test", "e")]
    rows, queries = collected([*names, ("valid", "d"), ("valid", "D")])
    assert [(name, row["query_id"]) for name, row in rows if name not in PARTS] == [
        ("rm_queries", "rm0"),
        ("llm_queries", "llm1"),
        ("rm_queries", "rm2"),
        ("test_queries", "test5"),
        ("test_queries", "test6"),
    ]
    assert {part: list(keys) for part, keys in queries.evaluation.items()} == {
        "valid": [normalize_query(query("d"))],
        "test": [normalize_query(query("f")), normalize_query(query("e"))],
    }
    raw = [{"query": query(name)} for name in ("z", "a", "b", "B", "c", "d", "e", "f")]
    parts = [("rm", "a"), ("rm", "b"), ("llm", "c"), ("valid", "d"), ("test", "e"), ("test", "f")]
    assert list(queries.pop_parts(raw)) == [(part, normalize_query(query(name))) for part, name in parts]


def test_shared_holds_the_queries_in_two_parts() -> None:
    _, queries = collected([("rm", "a"), ("llm", "b"), ("test", "c"), ("rm", "A")])
    assert not any(queries.shared.values())
    _, queries = collected([("test", "d"), ("rm", "a"), ("test", "b"), ("llm", "b"), ("llm", "D!")])
    keys = {normalize_query(query(name)) for name in "bd"}
    assert {pair: shared for pair, shared in queries.shared.items() if shared} == {("llm", "test"): keys}


@pytest.mark.parametrize("empty", PARTS)
def test_check_no_part_is_empty_names_the_part(empty: str) -> None:
    _, queries = collected([(part, part) for part in PARTS if part != empty])
    with pytest.raises(UserError, match=rf"part {empty}: found no comparisons"):
        queries.check_no_part_is_empty()


def test_by_type_gives_fractions_and_absent_types() -> None:
    types = [("rm", "a"), ("rm", "a"), ("llm", "a"), ("test", "a"), ("rm", "b"), ("valid", "")]
    rows = [
        (part, {"query_id": str(n), "query": query(n), "type": name, "split": ""})
        for n, (part, name) in enumerate(types)
    ]
    queries = Queries()
    list(queries.collect([*rows, rows[0]]))
    queries.check_no_part_is_empty()
    assert queries.by_type() == {
        "types": 3,
        "types_absent_from_rm": 1,
        "types_absent_from_llm": 2,
        "types_absent_from_valid": 2,
        "types_absent_from_test": 2,
        "by_type": {
            "": {"queries": 1, "rm": 0.0, "llm": 0.0, "valid": 1.0, "test": 0.0},
            "a": {"queries": 4, "rm": 0.5, "llm": 0.25, "valid": 0.0, "test": 0.25},
            "b": {"queries": 1, "rm": 1.0, "llm": 0.0, "valid": 0.0, "test": 0.0},
        },
    }


def test_by_type_shows_the_largest_types() -> None:
    names = [f"t{n:03}" for n in range(MAX_TYPES + 5)]
    rows = [
        ("rm", {"query_id": "", "query": query(f"{name} {n}"), "type": name, "split": ""})
        for name in names
        for n in range(1 + (name == names[-1]))
    ]
    queries = Queries()
    list(queries.collect(rows))
    metrics = queries.by_type()
    assert metrics["types"] == MAX_TYPES + 5 == metrics["types_absent_from_test"]
    assert list(metrics["by_type"]) == [*names[: MAX_TYPES - 1], names[-1]]


def test_with_golden_skips_or_refuses_an_rm_query_without_golden_answer() -> None:
    queries = [("rm_queries", {"query_id": name}) for name in "abcd"]
    golden = [{"query_id": name, "golden": "g"} for name in "dbz"]
    counts: Counter[str] = Counter()
    kept = list(with_golden(queries, golden, without_golden="skip", counts=counts))
    assert kept == [queries[1], queries[3]]
    assert counts == {"rm_queries_without_golden": 2}
    with pytest.raises(UserError, match=r"query 'a' of the RM part: found no golden answer.*skip"):
        list(with_golden(queries, golden, without_golden="error", counts=Counter()))
    others = [("rm", {"query_id": "a"}), ("llm_queries", {"query_id": "a"}), queries[1]]
    assert list(with_golden(others, golden, without_golden="error", counts=Counter())) == others
