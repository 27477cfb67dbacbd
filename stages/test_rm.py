"""test_rm: the testing RM, the automatic judge of the game, which never sees what the game makes.

In: `test_rm.start`, a reward model that is taken as it is, or a checkpoint to train; all human comparisons
for training (RM part, LLM part, valid). Out: `models/rm_test`, its training curve, metrics. Paper, section
4.1.
"""

from pathlib import Path

from apo.core.config import read_section
from apo.core.stage import run
from apo.model.checkpoint import is_reward_model
from apo.reward.recipe import adopt_rm, train_rm
from apo.reward.settings import TestingRm
from apo.training.outputs import Outputs


def main(
    start_from: Path,
    rm_train: Path,
    llm_train: Path,
    valid: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    read_section(params, "test_rm", TestingRm)  # dvc.yaml passes its `start`
    outputs = Outputs(out, curves, metrics)
    if is_reward_model(start_from):
        adopt_rm("test_rm", start=start_from, comparisons=rm_train, outputs=outputs, params=params)
        return
    train_rm(
        "test_rm",
        start=start_from,
        comparisons=[rm_train, llm_train, valid],
        outputs=outputs,
        params=params,
    )


if __name__ == "__main__":
    run(main)
