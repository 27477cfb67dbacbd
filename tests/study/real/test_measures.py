"""study/real/measures.py by hand."""

from typing import Any

import pytest

from study.real.measures import (
    choice_measures,
    choice_of_testing_rm,
    golden_measures,
    rm_measures,
    with_cut_golden,
)


def selected(query_id: str, scores: list[float], target: int) -> dict[str, Any]:
    samples = ["one", "one two", "one two three"]
    return {"query_id": query_id, "samples": samples, "scores": scores, "target_index": target}


def test_choice_measures_are_means_over_queries() -> None:
    rows = [selected("a", [0.1, 0.2, 0.3], 2), selected("b", [0.3, 0.2, 0.1], 0)]
    measured = choice_measures(rows, {"a": [1.0, 2.0, 6.0], "b": [1.0, 2.0, 3.0]})
    assert measured["queries"] == 2
    assert measured["tau_test_rm"] == pytest.approx(0.0)  # 1 and -1
    assert measured["tau_words"] == pytest.approx(0.0)
    assert measured["test_rm"] == pytest.approx([3.5, 2.5, 4.5])
    assert measured["words"] == pytest.approx([2.0, 2.0, 3.0])


def test_choice_of_the_testing_rm_is_that_of_its_own_rewards() -> None:
    rows = [selected("a", [0.1, 0.2, 0.3], 2), selected("b", [0.3, 0.2, 0.1], 0)]
    measured = choice_of_testing_rm(rows, {"a": [6.0, 2.0, 1.0], "b": [9.0, 2.0, 1.0]})
    assert (measured["tau_test_rm"], measured["tau_words"]) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert measured["test_rm"] == pytest.approx([7.5, 3.5, 7.5])
    assert measured["words"][0] == 1.0


def test_choice_measures_leave_out_a_tau_of_equal_rewards() -> None:
    rows = [selected("a", [0.1, 0.2, 0.3], 2), selected("b", [0.5, 0.5, 0.5], 0)]
    assert choice_measures(rows, {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})["tau_test_rm"] == 1.0
    assert choice_measures(rows[1:], {"b": [1.0, 2.0, 3.0]})["tau_test_rm"] is None


def test_rm_measures_keep_accuracy_and_pairs_of_each_test_set() -> None:
    test = dict.fromkeys(("accuracy", "pairs", "nll", "ece_10", "queries_cut", "responses_cut"), 0.5)
    parts = {"harmless": {"accuracy": 0.6, "pairs": 10, "accuracy_low": 0.1}}
    assert rm_measures({"test": test | {"by_type": parts, "brier": 1.0}}) == test | {
        "by_set": {"harmless": [0.6, 10]}
    }


def test_golden_answers_are_cut_to_the_mean_length_of_the_samples() -> None:
    rows = [{"query_id": "a", "responses": [" a b c d e", "x", "x y z"]}]
    cut = with_cut_golden(rows)
    assert cut == [{"query_id": "a", "responses": [" a b", "x", "x y z"]}]
    assert golden_measures(rows) == {
        "queries": 1,
        "golden_words": 5,
        "sample_words": 2,
        "golden_longer": 1,
    }
    assert golden_measures(cut)["golden_longer"] == 0.5


def test_an_empty_sample_leaves_one_word_of_the_golden_answer() -> None:
    assert with_cut_golden([{"responses": ["yes it is", "", ""]}])[0]["responses"][0] == "yes"
