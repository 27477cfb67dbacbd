"""apo/reward/length_histogram.py: bins by hand, and everything in one bin."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from apo.reward.length_histogram import ENDS, LengthHistogram


def test_length_histogram_by_hand() -> None:
    lengths = LengthHistogram(overhead=1)
    lengths.add(3, [1, 4])  # sequences 5 and 8
    lengths.add(0, [5])  # sequence 6
    assert lengths.histogram() == [
        {"from": 0, "to": 0, "queries": 1, "responses": 0, "sequences": 0},
        {"from": 1, "to": 1, "queries": 0, "responses": 1, "sequences": 0},
        {"from": 2, "to": 2, "queries": 0, "responses": 0, "sequences": 0},
        {"from": 3, "to": 3, "queries": 1, "responses": 0, "sequences": 0},
        {"from": 4, "to": 4, "queries": 0, "responses": 1, "sequences": 0},
        {"from": 5, "to": 6, "queries": 0, "responses": 1, "sequences": 2},
        {"from": 7, "to": 8, "queries": 0, "responses": 0, "sequences": 1},
    ]


@given(st.lists(st.tuples(st.integers(0, 3000), st.lists(st.integers(0, 3000), min_size=1)), max_size=20))
def test_length_histogram_counts_everything_once(items: list[tuple[int, list[int]]]) -> None:
    lengths = LengthHistogram(overhead=2)
    for query, responses in items:
        lengths.add(query, responses)
    rows = lengths.histogram()
    total = sum(len(responses) for _, responses in items)
    assert sum(row["queries"] for row in rows) == len(items)
    assert sum(row["responses"] for row in rows) == sum(row["sequences"] for row in rows) == total
    assert all(row["to"] + 1 == after["from"] for row, after in pairwise(rows))
    assert sorted(ENDS) == ENDS
