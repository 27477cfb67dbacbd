"""apo/inspection/contents.py: quantiles by hand, and rows that are drawn by chance."""

from collections import Counter

from apo.inspection.contents import Contents, quantiles
from tests.helpers.inspected import Q


def test_quantiles_by_hand() -> None:
    lengths = Counter({1: 50, 7: 45, 100: 5})
    assert quantiles(lengths) == {"min": 1, "median": 1, "95 %": 7, "max": 100}
    assert quantiles(lengths + Counter({100: 1})) == {"min": 1, "median": 7, "95 %": 100, "max": 100}


def test_contents_draws_the_same_rows_each_time_in_order() -> None:
    def drawn(limit: int) -> list[str]:
        contents = Contents(rows_kept=limit)
        for number in range(100):
            contents.add({"query": Q, "response": "a"}, where=str(number))
        return [one.where for one in contents.drawn]

    assert drawn(0) == drawn(100) == drawn(500) == [str(number) for number in range(100)]
    part = drawn(10)
    assert len(set(part)) == 10 and part == drawn(10) == sorted(part, key=int)
    assert max(map(int, part)) > 50


def test_contents_draws_every_row_as_often() -> None:
    """10 of 20 by 400 different random numbers: 200 each, give or take five deviations."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        contents = Contents(rows_kept=10)
        contents._random.seed(seed)
        for number in range(20):
            contents.add({"query": Q, "response": "a"}, where=str(number))
        seen.update(one.where for one in contents.drawn)
    assert all(150 <= seen[str(number)] <= 250 for number in range(20))
