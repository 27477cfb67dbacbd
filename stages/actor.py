"""actor: the language model before the game, as Alpaca is in the paper.

In: `actor.start`, an own Hugging Face checkpoint in a folder, or answers on which the backbone is
fine-tuned. Out: `models/actor`, its training curve, metrics.
"""

from pathlib import Path

from apo.core.config import read_section, read_seed
from apo.core.records import read_rows
from apo.core.stage import run
from apo.language.settings import Actor
from apo.language.sft import fine_tune
from apo.language.template_choice import choose_template
from apo.model.checkpoint import load_tokenizer
from apo.training.outputs import Outputs, adopt_checkpoint


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
    to = Outputs(out, curves, metrics)
    if start_from.is_dir():
        tokenizer = load_tokenizer(start_from)
        said = {"fine_tuned_here": False, **choose_template(tokenizer, settings, templates, section="actor")}
        adopt_checkpoint("actor", start_from, tokenizer, said, dtype=settings.dtype, to=to)
        return
    fine_tune(
        "actor",
        backbone,
        [(row["query"], row["response"]) for row in read_rows(start_from)],
        settings,
        templates,
        source=start_from,
        seed=read_seed(params),
        to=to,
    )


if __name__ == "__main__":
    run(main)
