"""actor: the language model before the game, as Alpaca is in the paper.

In: `actor.start`, an own Hugging Face checkpoint in a folder, or answers on which the backbone is
fine-tuned. Out: `models/actor`, its training curve, metrics.
"""

from pathlib import Path

from apo.card import language_model_card
from apo.config import Actor, read_section, read_seed
from apo.model.checkpoint import load_language_model, load_tokenizer, save_language_model
from apo.records import read_rows, write_json
from apo.stage import run
from apo.tables import write_csv
from apo.training.fine_tuning import fine_tune


def main(
    backbone: Path,
    start: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "actor", Actor)
    if start.is_dir():
        model = load_language_model(start)
        card = language_model_card(out, start=start, parameters=model.num_parameters())
        save_language_model(model, load_tokenizer(start), out, card)
        write_csv(curves, [{"step": 0}])
        write_json(metrics, {"actor": {"parameters": model.num_parameters(), "fine_tuned_here": False}})
        return
    fine_tune(
        "actor",
        backbone,
        [(row["query"], row["response"]) for row in read_rows(start)],
        settings,
        source=start,
        seed=read_seed(params),
        out=out,
        curves=curves,
        metrics=metrics,
    )


if __name__ == "__main__":
    run(main)
