"""apo/datasets/chosen.py: the preferred answer of a comparison is the golden answer to its query."""

from collections import Counter
from typing import Any

from apo.datasets.chosen import with_chosen_golden


def comparison(query_id: str, *scores: float, name: str = "", split: str = "") -> tuple[str, dict[str, Any]]:
    return "comparisons", {
        "query_id": query_id,
        "query": f"query {query_id}",
        "responses": [f"{name}{n}" for n in range(len(scores))],
        "scores": list(scores),
        "type": "t",
        "split": split,
    }


def test_with_chosen_golden_takes_the_first_preferred_response() -> None:
    others = [("documents", {"text": "d"}), ("samples", {"query_id": "a"}), ("demonstrations", {})]
    rows = [
        comparison("a", 0.0, 1.0, split="rm"),
        ("golden", {"query_id": "a", "golden": "the source's own"}),
        comparison("b", 1.0, 1.0, 0.0),  # two share the highest score
        comparison("a", 1.0, 0.0, name="again "),
        comparison("b", 3.0, 2.0, 2.5, name="later "),
        comparison("c", 2.0, 2.0),
        comparison("d", 1.0, 0.0, split="test"),
        *others,
    ]
    counts: Counter[str] = Counter()
    given = list(with_chosen_golden(rows, counts))
    assert [row for kind, row in given if kind == "golden"] == [
        {"query_id": "a", "query": "query a", "golden": "1", "type": "t"},
        {"query_id": "b", "query": "query b", "golden": "later 0", "type": "t"},
    ]
    assert [row for row in given if row[0] != "golden"] == [row for row in rows if row[0] != "golden"]
    assert counts == {
        "golden": 2,
        "queries_without": 1,  # c; d is in the test set
        "further_comparisons": 1,
        "without_preference": 2,
        "source_golden_unused": 1,
    }


def test_with_chosen_golden_counts_nothing_for_no_rows() -> None:
    counts: Counter[str] = Counter()
    assert list(with_chosen_golden([], counts)) == [] and set(counts.values()) == {0}
