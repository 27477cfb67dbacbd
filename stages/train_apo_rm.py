"""train_apo_rm: the reward model that also learns to tell golden answers from the actor's samples.

In: the backbone or another start (and, for the sequential variants, the base RM and the last round's APO
RM), the comparisons of the RM part, the golden > samples of the round. Out: `models/rm_apo/ROUND`, its
training curve, metrics.
Paper, section 3 (Eq. 14 to 17).
"""

from pathlib import Path

from apo.core.config import read_section
from apo.core.stage import run
from apo.reward.recipe import train_rm
from apo.reward.settings import Apo
from apo.training.outputs import Outputs


def main(
    round: str,
    start_from: Path,
    base_rm: Path,
    previous: Path,
    train: Path,
    adversarial_pairs: Path,
    valid: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    apo = read_section(params, "apo", Apo)
    starts = {"backbone": start_from, "base_rm": base_rm, "previous": previous}
    train_rm(
        f"apo_rm_{round}",
        start=starts[apo.init_from],
        comparisons=[train],
        adversarial_pairs=[adversarial_pairs],
        apo=apo,
        valid=valid,
        outputs=Outputs(out, curves, metrics),
        params=params,
    )


if __name__ == "__main__":
    run(main)
