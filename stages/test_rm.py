"""test_rm: the testing RM, the automatic judge of the game, which never sees what the game makes.

In: the backbone, all human comparisons for training (RM part, LLM part, valid). Out: `models/rm_test`, its
training curve, metrics. Paper, section 4.1.
"""

from pathlib import Path

from apo.core.stage import run
from apo.reward.recipe import Outputs, train_rm


def main(
    backbone: Path,
    rm_train: Path,
    llm_train: Path,
    valid: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    train_rm(
        "test_rm",
        start=backbone,
        comparisons=[rm_train, llm_train, valid],
        outputs=Outputs(out, curves, metrics),
        params=params,
    )


if __name__ == "__main__":
    run(main)
