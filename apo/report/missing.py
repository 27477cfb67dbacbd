"""Which stages a run lacks, by the metrics that each of them leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

START = {
    "data": "data",
    "split": "split",
    "backbone": "backbone",
    "actor": "actor",
    "base_rm": "train_base_rm",
    "test_rm": "test_rm",
    "answer_actor": "answer_actor",
    "payoff_r0": "payoff_base",
    "judge": "judge",
}
ROUND = {
    "sample_rm": "sample_rm",
    "sample_base": "sample (base)",
    "sample_apo": "sample (apo)",
    "convert": "convert",
    "apo_rm": "train_apo_rm",
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
    """Every stage that leaves metrics, by the key of its metrics: `evaluate of round r1`."""
    found = dict(START)
    for one in rounds:
        found |= {f"{key}_{one}": f"{stage} of round {one}" for key, stage in ROUND.items()}
    return found


def lacking(metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[str]:
    """The stages without metrics, in the order in which they run."""
    return [stage for key, stage in stages_of(rounds).items() if key not in metrics]
