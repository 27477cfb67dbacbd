"""study/results.py: rows are rounded and merged."""

from typing import Any

import pytest

from study import results
from study.pipeline import query_error
from study.results import merged, merged_alignments, mixed_sets, rounded, row_of


def test_rounded_keeps_six_digits() -> None:
    assert rounded({"a": [0.123456789, 2], "b": "c"}) == {"a": [0.123457, 2], "b": "c"}


def test_row_of_two_rounds_keeps_the_choice_among_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics of a round have it for all samples alone."""
    choice = {"chosen": 0.5, "random": 0.1, "best": 0.9}
    for name, value in {
        "rm_measures": {"accuracy": 0.7},
        "llm_measures": {"score": 1.0},
        "choice_measures": {"base": choice, "apo": choice},
        "start_measures": {},
        "query_error": {},
        "best_accuracy": 0.8,
    }.items():
        monkeypatch.setattr(results, name, lambda *_, value=value: value)
    selection = {**choice, "points": {}, "chosen_of_2": 0.3, "chosen_of_3": 0.4}
    game: dict[str, Any] = {
        "kind": "alignment",
        "name": "rjs, coeff 2",
        "seed": 1,
        "seconds": 2.0,
        "code": "a",
    }
    game |= {"metrics": {}, "selection": {"base": selection, "apo": selection}, "golden": {}, "answers": {}}
    pairs = row_of(game)["pairs"]
    assert pairs["r1"]["chosen_of_2"] == [0.3, 0.3]
    assert pairs["r1"]["llm_score"] == pairs["r2"]["llm_score"] == [1.0, 1.0]
    assert "chosen_of_2" not in pairs["r2"]


def test_merged_replaces_the_row_of_the_same_game_and_drops_other_games() -> None:
    old = [{"kind": "method", "name": "rjs", "seed": seed, "seconds": 1.0} for seed in (1, 2)]
    new = [{"kind": "method", "name": "rjs", "seed": 2, "seconds": 9.0}]
    order = [("method", "rjs", 2), ("method", "rjs", 1), ("method", "rjs", 3)]
    rows = merged(old, new, order)
    assert [(row["seed"], row["seconds"]) for row in rows] == [(2, 9.0), (1, 1.0)]
    assert merged(old, new, order[:1]) == new


def test_merged_alignments_replaces_the_row_of_the_same_alignment() -> None:
    one = {
        "targets": 400,
        "method": "rjs",
        "seed": 1,
        "alignment_seed": 201,
        "chooser": "truth",
        "seconds": 1.0,
    }
    again, other = {**one, "seconds": 2.0}, {**one, "chooser": "random"}
    assert merged_alignments([one, other], [again]) == [other, again]


def test_query_error_is_the_half_width_of_the_bootstrap_interval() -> None:
    compared = {"true_reward": {"low": -0.98, "high": 0.98}, "score": {"low": 0.0, "high": 3.92}}
    metrics = {
        "evaluate_r2": {"llm_apo_r2_vs_llm_base_r2": compared},
        "answer_llm_apo_r2": {"queries": 300},
    }
    assert query_error(metrics, "r2") == {"queries": 300, "true_reward": 0.5, "score": 1.0}


def test_mixed_sets_are_those_of_more_than_one_code() -> None:
    rows = [{"kind": "method", "code": "a"}, {"kind": "confirmation", "code": "a"}]
    assert mixed_sets(rows, []) == {}
    assert mixed_sets([*rows, {"kind": "sweep"}], []) == {"method and sweep": ["a", "older"]}
    assert mixed_sets(rows, [{"code": "a"}, {"code": "b"}]) == {"transfer": ["a", "b"]}
