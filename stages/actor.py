"""actor: the language model before the game, as Alpaca is in the paper.

In: `actor.start`, an own Hugging Face checkpoint in a folder, or answers on which the backbone is
fine-tuned. Out: `models/actor`, its training curve, metrics.
"""

from pathlib import Path

from apo.config import Actor, read_section, read_seed
from apo.records import read_rows
from apo.stage import run
from apo.training.fine_tuning import fine_tune
from apo.training.finish import Outputs, take_over


def main(
    backbone: Path,
    start: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "actor", Actor)
    to = Outputs(out, curves, metrics)
    if start.is_dir():
        take_over("actor", start, {"fine_tuned_here": False}, to)
        return
    fine_tune(
        "actor",
        backbone,
        [(row["query"], row["response"]) for row in read_rows(start)],
        settings,
        source=start,
        seed=read_seed(params),
        to=to,
    )


if __name__ == "__main__":
    run(main)
