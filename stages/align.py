"""align: the LLM of one arm learns from the samples that its RM scored, by RJS, RRHF or DPO.

In: the LLM of the last round, its scored samples. Out: `models/llm_ARM/ROUND`, the actor of the next round,
its training curve, metrics. Paper, section 4.1.
"""

from pathlib import Path

from apo.alignment.recipe import align_model
from apo.alignment.settings import read_align
from apo.core.config import read_seed
from apo.core.stage import run
from apo.training.outputs import Outputs


def main(
    name: str,
    round: str,
    llm: Path,
    selected: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    align_model(
        f"align_{name}",
        llm,
        selected,
        read_align(params, round),
        seed=read_seed(params),
        outputs=Outputs(out, curves, metrics),
    )


if __name__ == "__main__":
    run(main)
