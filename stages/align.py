"""align: the language model learns from the samples that one RM scored, by RJS, RRHF or DPO.

In: the actor, its scored samples. Out: `models/llm_RM`, its training curve, metrics. Paper, section 4.1.
"""

from pathlib import Path

from apo.align_recipe import align_model
from apo.config import Align, read_section, read_seed
from apo.stage import run


def main(
    rm: str,
    actor: Path,
    selected: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    align_model(
        f"llm_{rm}",
        actor,
        selected,
        read_section(params, "align", Align),
        seed=read_seed(params),
        out=out,
        curves=curves,
        metrics=metrics,
    )


if __name__ == "__main__":
    run(main)
