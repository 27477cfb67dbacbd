"""study/results.py: rows are rounded and merged."""

from study.pipeline import query_error
from study.results import merged, merged_alignments, mixed_sets, rounded


def test_rounded_keeps_six_digits() -> None:
    assert rounded({"a": [0.123456789, 2], "b": "c"}) == {"a": [0.123457, 2], "b": "c"}


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
