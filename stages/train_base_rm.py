"""train_base_rm: the reward model of human comparisons alone, the control arm of the game.

In: the backbone or another start, the comparisons of the RM part. Out: `models/rm_base`, its training curve,
metrics. Paper, section 2 (Bradley-Terry ranking loss).
"""

from pathlib import Path

from apo.core.stage import run
from apo.reward.recipe import train_rm
from apo.training.outputs import Outputs


def main(
    start_from: Path,
    train: Path,
    valid: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    train_rm(
        "base_rm",
        start=start_from,
        comparisons=[train],
        valid=valid,
        outputs=Outputs(out, curves, metrics),
        params=params,
    )


if __name__ == "__main__":
    run(main)
