"""apo/splits/splitting.py: no row that trains is near a query that evaluates it."""

from typing import Any

import pytest

from apo.splits.splitting import assign
from tests.helpers.split_queries import FRACTIONS, branch, long_query, name_drawn_into, query, row, split

Row = dict[str, Any]


def part_of(text: str, given_part: str = "", **changes: Any) -> str:
    return assign(text, given_part, **{"seed": 1, **FRACTIONS, **changes})


def row_in(part: str, name: object, word: str) -> Row:
    """A long query with the given part, or one that is drawn into valid."""
    given_part = "llm" if part == "valid" else part
    texts = (long_query(name, f"{word}{n}") for n in range(1000))
    text = next(text for text in texts if part_of(text, given_part, valid_fraction=0.5) == part)
    return {"query": text, "split": given_part}


@pytest.mark.parametrize(
    ("one", "other", "dropped"),
    [
        ("rm", "test", "dropped_near_test_rm"),
        ("llm", "test", "dropped_near_test_llm"),
        ("valid", "test", "dropped_near_test_valid"),
        ("rm", "valid", "dropped_near_valid_rm"),
        ("llm", "valid", ""),  # what is trained on the LLM part is evaluated on test only
        ("rm", "llm", ""),
        ("rm", "rm", ""),
        ("test", "test", ""),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_split_rows_drops_a_row_near_a_query_that_evaluates_it(
    one: str, other: str, dropped: str, reverse: bool
) -> None:
    name = name_drawn_into("llm", valid_fraction=0.5) if "valid" in (one, other) else 0
    first, second = row_in(one, name, "here"), row_in(other, name, "there")
    pairs, counts = split([second, first] if reverse else [first, second], valid_fraction=0.5)
    if dropped:
        assert pairs == [(other, second)]
        assert counts == {"rows": 2, dropped: 1, f"rows_{other}": 1}
    else:
        assert sorted(part for part, _ in pairs) == sorted([one, other])
        assert counts["rows"] == counts[f"rows_{one}"] + counts[f"rows_{other}"] * (one != other) == 2


def test_split_rows_keeps_a_row_near_a_validation_query_that_is_dropped() -> None:
    """The RM row is near the valid row, which is near the test row; the RM row is not near the test row."""
    words = [f"w{n}" for n in range(100)]

    def text(*changed: int) -> str:
        return query(" ".join("x" if n in changed else word for n, word in enumerate(words)))

    rows = [
        {"query": text(), "split": "rm"},
        {"query": text(30), "split": "llm"},
        {"query": text(30, 60), "split": "test"},
    ]
    pairs, counts = split(rows, valid_fraction=1 - 1e-9)
    assert [part for part, _ in pairs] == ["rm", "test"]
    assert counts == {"rows": 3, "rows_rm": 1, "rows_test": 1, "dropped_near_test_valid": 1}
    pairs, _ = split(rows[:2], valid_fraction=1 - 1e-9)
    assert [part for part, _ in pairs] == ["valid"]


def test_split_rows_compares_the_similarity_with_the_threshold() -> None:
    texts = (long_query(1, "here"), "rm"), (long_query(1, "there"), "test")
    rows = [{"query": text, "split": part} for text, part in texts]
    assert len(split(rows, near_duplicate=0.93)[0]) == 2  # 77 of 83
    assert len(split(rows, near_duplicate=0.92)[0]) == 1


@pytest.mark.parametrize(
    ("given_part", "part"), [("rm", "rm"), ("llm", "llm"), ("llm", "valid")], ids=["rm", "llm", "valid"]
)
def test_split_rows_keeps_or_drops_a_row_that_shares_its_first_turn_with_test(
    given_part: str, part: str
) -> None:
    valid_fraction = float(part == "valid")
    rows = [row(1, "test"), {"query": branch(1, "why?"), "split": given_part}, row(2, given_part)]
    pairs, counts = split(rows, valid_fraction=valid_fraction)
    assert [kept for kept, _ in pairs] == ["test", part, part]
    assert not [name for name in counts if "dropped" in name]
    pairs, counts = split(rows, valid_fraction=valid_fraction, shared_first_turn="drop")
    assert pairs == [("test", rows[0]), (part, rows[2])]
    assert counts == {"rows": 3, "rows_test": 1, f"rows_{part}": 1, f"dropped_first_turn_test_{part}": 1}


def test_split_rows_ignores_the_first_turn_of_a_dropped_validation_query() -> None:
    rows = [row(1, "test"), {"query": branch(1, "why?"), "split": "llm"}]
    rows += [{"query": branch(1, "how?"), "split": "rm"}, {"query": branch(2, "how?"), "split": "rm"}]
    rows += [row(2, "llm")]
    pairs, counts = split(rows, valid_fraction=1.0, shared_first_turn="drop")
    assert pairs == [("test", rows[0]), ("valid", rows[4])]
    assert {name: count for name, count in counts.items() if "dropped" in name} == {
        "dropped_first_turn_test_valid": 1,
        "dropped_first_turn_test_rm": 1,
        "dropped_first_turn_valid_rm": 1,
    }
