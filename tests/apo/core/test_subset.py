"""apo/core/subset.py: a seeded subset of the queries; golden answers as samples of a model."""

from collections import Counter

import pytest

from apo.core.subset import golden_as_samples, subsample


def test_subsample_keeps_the_queries_with_the_lowest_hashes_in_their_order() -> None:
    rows = [{"query_id": f"q{i}"} for i in range(100)]
    assert subsample(rows, max_queries=0, seed=1) == subsample(rows, max_queries=100, seed=1) == rows
    subset = subsample(iter(rows), max_queries=30, seed=1)
    assert len(subset) == 30
    assert [row for row in rows if row in subset] == subset
    assert subsample(rows[::-1], max_queries=30, seed=1) == subset[::-1]
    assert subsample(rows, max_queries=30, seed=2) != subset
    larger = subsample(rows, max_queries=40, seed=1)
    assert all(row in larger for row in subset)


def test_golden_as_samples_needs_a_golden_answer_to_every_query(capsys: pytest.CaptureFixture[str]) -> None:
    queries = [{"query_id": name, "query": "q", "type": ""} for name in ("a", "b")]
    golden = [{"query_id": name, "query": "q", "golden": name.upper()} for name in ("c", "b", "a")]
    counts: Counter[str] = Counter()
    rows = golden_as_samples(queries, golden, name="golden", counts=counts)["golden"]
    assert [(row["query_id"], row["samples"], row["made_by"]) for row in rows] == [
        ("a", ["A"], "golden"),
        ("b", ["B"], "golden"),
    ]
    assert golden_as_samples(queries, golden[:1], name="golden", counts=counts) == {}
    assert not counts
    assert golden_as_samples(queries, golden[:2], name="golden", counts=counts) == {}
    assert counts == {"golden_missing": 1}
    assert capsys.readouterr().err == "no golden answer to 1 of 2 test queries: not compared with LLMs\n"
