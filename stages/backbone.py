"""backbone: what every reward model and the actor start from, as LLaMA is in the paper.

In: `backbone.start`, a Hugging Face checkpoint in a folder, or the texts of `split`, on which a small Llama
is pretrained from scratch with its own sentencepiece tokenizer. Out: `models/backbone`, its training curve,
metrics.
"""

from pathlib import Path

from apo.core.config import read_section, read_seed
from apo.core.stage import run
from apo.language.adopt import adopt_language_model
from apo.language.pretraining import pretrain
from apo.language.settings import Backbone, is_checkpoint
from apo.training.outputs import Outputs


def main(
    start_from: Path,
    templates: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "backbone", Backbone, defaults="training")
    outputs = Outputs(out, curves, metrics)
    if is_checkpoint(start_from, section="backbone"):
        adopt_language_model(
            "backbone",
            start_from,
            settings,
            templates,
            metrics={"pretrained_here": False},
            outputs=outputs,
        )
        return
    pretrain("backbone", start_from, settings, templates, seed=read_seed(params), outputs=outputs)


if __name__ == "__main__":
    run(main)
