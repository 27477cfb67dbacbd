"""The stages that a run lacks, found by their missing metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

START = {
    "data": "data",
    "split": "split",
    "golden": "golden",
    "backbone": "backbone",
    "actor": "actor",
    "train_base_rm": "train_base_rm",
    "train_test_rm": "test_rm",
    "base_rm": "evaluate_base_rm",
    "test_rm": "evaluate_test_rm",
    "answer_actor": "answer_actor",
    "judge": "judge",
}
ROUND = {
    "sample_rm": "sample_rm",
    "sample_base": "sample (base)",
    "sample_apo": "sample (apo)",
    "convert": "convert",
    "train_apo_rm": "train_apo_rm",
    "apo_rm": "evaluate_apo_rm",
    "score_base": "score_base",
    "score_apo": "score",
    "rjs_base": "rjs (base)",
    "rjs_apo": "rjs (apo)",
    "align_base": "align (base)",
    "align_apo": "align (apo)",
    "answer_llm_base": "answer (base)",
    "answer_llm_apo": "answer (apo)",
    "evaluate": "evaluate",
    "payoff": "payoff",
}


def stages_of(rounds: Sequence[str]) -> dict[str, str]:
    """Every stage that writes metrics, such as `evaluate of round r1`, by the key of its metrics."""
    stages = dict(START)
    for round in rounds:
        stages |= {f"{key}_{round}": f"{stage} of round {round}" for key, stage in ROUND.items()}
    return stages


def missing_stages(metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[str]:
    """The stages without metrics, in the order in which they run."""
    return [stage for key, stage in stages_of(rounds).items() if key not in metrics]
