"""actor: the language model before the game, as Alpaca is in the paper.

In: `actor.start`, an own Hugging Face checkpoint in a folder, or the answers of `split`, on which the
backbone is fine-tuned. Out: `models/actor`, its training curve, metrics.
"""

from pathlib import Path

from apo.core.config import read_section, read_seed
from apo.core.records import read_rows
from apo.core.stage import run
from apo.language.adopt import adopt_language_model
from apo.language.settings import Actor, is_checkpoint
from apo.language.sft import fine_tune
from apo.training.outputs import Outputs


def main(
    backbone: Path,
    start_from: Path,
    templates: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "actor", Actor, defaults="training")
    outputs = Outputs(out, curves, metrics)
    if is_checkpoint(start_from, section="actor"):
        adopt_language_model(
            "actor",
            start_from,
            settings,
            templates,
            metrics={"fine_tuned_here": False},
            outputs=outputs,
        )
        return
    fine_tune(
        "actor",
        backbone,
        [(row["query"], row["response"]) for row in read_rows(start_from, "query", "response")],
        settings,
        templates,
        source=start_from,
        seed=read_seed(params),
        outputs=outputs,
    )


if __name__ == "__main__":
    run(main)
