"""apo/splits/queries.py: each query of a part once, counts by type."""

from typing import Any

from apo.core.dialogue import normalize_query
from apo.splits.queries import MAX_TYPES, Queries
from apo.splits.splitting import PARTS
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


def test_numbers_counts_the_queries_of_each_part() -> None:
    _, queries = collected([("rm", "x"), ("rm", "X!"), ("rm", "y"), ("test", "z")])
    assert queries.numbers() == {"rm": 2, "llm": 0, "valid": 0, "test": 1}
    assert queries.draws


def test_by_type_gives_fractions_and_absent_types() -> None:
    types = [("rm", "a"), ("rm", "a"), ("llm", "a"), ("test", "a"), ("rm", "b"), ("valid", "")]
    rows = [
        (part, {"query_id": str(n), "query": query(n), "type": name, "split": ""})
        for n, (part, name) in enumerate(types)
    ]
    queries = Queries()
    list(queries.collect([*rows, rows[0]]))
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
