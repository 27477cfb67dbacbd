"""What every stage that makes a language model leaves: the checkpoint with its card, the curve, metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.records import write_json
from apo.core.tables import write_csv
from apo.model.checkpoint import Writer, load_language_model, load_tokenizer, save_language_model
from apo.training.model_card import language_model_card

LAST = 20  # steps of which the metrics are means


class Outputs(NamedTuple):
    """Where it goes: the folder of the checkpoint, a CSV file, a JSON file."""

    out: Path
    curves: Path
    metrics: Path


def finish(
    name: str,
    model: Any,
    tokenizer: Any,
    curve: Sequence[Mapping[str, Any]],
    *,
    found: Mapping[str, Any],
    counts: Mapping[str, int],
    card: Mapping[str, Any],
    to: Outputs,
    more: Writer | None = None,
) -> None:
    """Saves a language model, its curve, and metrics under `name`: `found`, last means, `counts`.

    Args:
        card: Of `language_model_card`.
        more: Of `save_language_model`.
    """
    text = language_model_card(to.out, parameters=model.num_parameters(), **card)
    save_language_model(model, tokenizer, to.out, text, more)
    write_csv(to.curves, curve)
    last = curve[-LAST:]
    means = {key: sum(row[key] for row in last) / len(last) for key in last[0] if key not in ("step", "lr")}
    final = {f"final_{key}": mean for key, mean in means.items()}
    write_json(to.metrics, {name: {**found, **final, **dict(sorted(counts.items()))}})


def adopt_checkpoint(name: str, start: Path, said: Mapping[str, Any], to: Outputs) -> None:
    """Leaves a checkpoint of the user as it is; `said` joins the metrics."""
    model = load_language_model(start)
    found = {"parameters": model.num_parameters(), **said}
    card, curve = {"start": start}, [{"step": 0}]
    finish(name, model, load_tokenizer(start), curve, found=found, counts={}, card=card, to=to)
