"""train_apo_rm: the reward model that also learns to tell golden answers from the actor's samples.

In: the backbone (and the base RM, for the sequential variant), the comparisons of the RM part, the items
golden > samples. Out: `models/rm_apo`, its training and reliability curves, its metrics on test and valid.
Paper, section 3 (Eq. 14 to 17).
"""

from pathlib import Path

from apo.config import Apo, read_section
from apo.losses import PAIR_LOSSES
from apo.reward_recipe import train_rm
from apo.stage import run


def main(
    backbone: Path,
    base_rm: Path,
    train: Path,
    adversarial: Path,
    valid: Path,
    test: Path,
    truth: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    apo = read_section(params, "apo", Apo)
    train_rm(
        "apo_rm",
        start=base_rm if apo.init_from == "base_rm" else backbone,
        comparisons=[train],
        adversarial=adversarial,
        kl_weight=apo.kl_coeff,
        apo_weight=apo.coeff / apo.num_samples,
        adversarial_loss=PAIR_LOSSES[apo.loss],
        measured_on={"test": test, "valid": valid},
        truth=truth,
        out=out,
        curves=curves,
        metrics=metrics,
        params=params,
    )


if __name__ == "__main__":
    run(main)
