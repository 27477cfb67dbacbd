"""apo/judge/pairs.py: which answers of which models are compared."""

import doctest
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.judge import pairs
from apo.judge.pairs import Comparison, build_comparisons, read_answers, select_pairs
from tests.helpers.fake_judge import write_answers

ROW = {"query_id": "q", "query": "q", "samples": ["s"], "scores": [1.0]}


def test_the_docstring_examples() -> None:
    assert doctest.testmod(pairs) == (0, 1)


def test_select_pairs_takes_the_requested_pairs_or_all() -> None:
    assert select_pairs(["a", "b"], [["b", "a"]], source="") == [("b", "a")]
    assert select_pairs(["a", "b", "c"], [], source="") == [("a", "b"), ("a", "c"), ("b", "c")]


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ([["a", "z"]], r"\['a', 'z'\]; expected two of a, b"),
        ([["a", "a"]], r"\['a', 'a'\]; expected"),
        ([["a", "b"], ["b", "a"]], r"\['b', 'a'\], which is repeated"),
    ],
)
def test_select_pairs_refuses_an_invalid_pair(requested: list[list[str]], message: str) -> None:
    with pytest.raises(UserError, match=f"^judge.pairs: found {message}"):
        select_pairs(["a", "b"], requested, source="judge.pairs")


def test_build_comparisons_joins_by_query_and_takes_a_seeded_subset(tmp_path: Path) -> None:
    folder = write_answers(tmp_path, x=[f"x{n}" for n in range(9)], y=[f"yy{n}" for n in range(9)])
    write_rows(folder / "y.jsonl", reversed(list(read_rows(folder / "y.jsonl"))))
    answers = read_answers(folder)

    def compared(max_queries: int, seed: int) -> list[Comparison]:
        return list(build_comparisons(answers, [("x", "y")], max_queries=max_queries, seed=seed, source=""))

    all_queries = compared(0, 1)
    assert [(comparison.query_id, comparison.answers) for comparison in all_queries] == [
        (f"q{n}", (f"x{n}", f"yy{n}")) for n in range(9)
    ]
    assert all(comparison.reward_difference == 1.0 for comparison in all_queries)  # -2 - -3
    subset = compared(4, 1)
    assert len(subset) == 4 and subset == [comparison for comparison in all_queries if comparison in subset]
    assert any(subset != compared(4, seed) for seed in range(2, 6))


def test_build_comparisons_compares_the_first_sample_and_counts_the_others(tmp_path: Path) -> None:
    answers = read_answers(write_answers(tmp_path, x=["x"], y=["yy"]))
    answers["x"]["q0"] |= {"samples": ["x", "other", "third"], "scores": [-1.0, 5.0, 7.0]}
    (comparison,) = build_comparisons(answers, [("y", "x")], max_queries=0, seed=1, source="")
    assert comparison[2:] == (("y", "x"), ("yy", "x"), -1.0, 2)


def test_build_comparisons_refuses_models_that_answer_different_queries(tmp_path: Path) -> None:
    answers = read_answers(write_answers(tmp_path, x=["a", "b"], y=["a"]))
    with pytest.raises(UserError, match=r"^here: found 1 queries such as 'q1' that x and y do not share"):
        list(build_comparisons(answers, [("x", "y")], max_queries=1, seed=1, source="here"))
    answers = read_answers(write_answers(tmp_path, x=["a"], y=["a"]))
    answers["y"]["q0"]["query"] = "another"
    with pytest.raises(UserError, match="'q0'"):
        list(build_comparisons(answers, [("x", "y")], max_queries=0, seed=1, source="here"))


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": []},
        {"samples": "text"},
        {"samples": [None]},
        {"scores": []},
        {"scores": [True]},
        {"scores": ["1"]},
        {"query": 1},
        {"query_id": None},
        {"query_id": ["q"]},
    ],
    ids=str,
)
def test_read_answers_refuses_a_row_of_another_form(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_rows(tmp_path / "x.jsonl", [ROW, ROW | {"query_id": "r"} | changes])
    with pytest.raises(UserError, match=r"x\.jsonl:2: found .*expected one row per query: query_id"):
        read_answers(tmp_path)


def test_read_answers_refuses_a_repeated_query_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no \.jsonl file"):
        read_answers(tmp_path)
    write_rows(tmp_path / "x.jsonl", [ROW, ROW])
    with pytest.raises(UserError, match=r"x\.jsonl:2: found a repeated query_id"):
        read_answers(tmp_path)
