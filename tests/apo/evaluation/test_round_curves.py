"""apo/evaluation/round_curves.py: the curves by hand, with and without a truth."""

from typing import Any

from apo.evaluation.round_curves import round_rows
from apo.metrics.statistics import paired_bootstrap


def scored(scores: list[float], true: list[float] | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"scores": [score]} for score in scores]
    return [row | ({"true_rewards": [true[i]]} if true else {}) for i, row in enumerate(rows)]


def test_round_rows_by_hand() -> None:
    """The actor begins both arms; the golden answers stand in every round; intervals are the bootstrap's."""
    arms = {
        "actor": scored([0.0, 2.0], [1.0, 1.0]),
        "golden": scored([4.0, 4.0], [3.0, 3.0]),
        "llm_apo_r1": scored([2.0, 4.0], [2.0, 3.0]),
        "llm_base_r1": scored([1.0, 1.0], [0.0, 1.0]),
    }
    rows = round_rows(arms, seed=3, resamples=200)
    assert [(row["round"], row["arm"], row["llm"], row["score"], row["true_reward"]) for row in rows] == [
        ("r0", "base", "actor", 1.0, 1.0),
        ("r0", "apo", "actor", 1.0, 1.0),
        ("r0", "golden", "golden", 4.0, 3.0),
        ("r1", "base", "llm_base_r1", 1.0, 0.5),
        ("r1", "apo", "llm_apo_r1", 3.0, 2.5),
        ("r1", "golden", "golden", 4.0, 3.0),
    ]
    assert (rows[4]["score_low"], rows[4]["score_high"]) == paired_bootstrap(
        [2.0, 4.0], [0.0, 0.0], seed=3, resamples=200
    )
    assert (rows[2]["true_low"], rows[2]["true_high"]) == (3.0, 3.0)


def test_round_rows_without_a_truth() -> None:
    (row, *_) = round_rows({"actor": scored([0.0, 1.0])}, seed=1, resamples=100)
    assert row.keys() == {"round", "arm", "llm", "score", "score_low", "score_high"}
