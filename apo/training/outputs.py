"""The outputs of a stage that trains a language model: checkpoint with model card, curve and metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from apo.core import distributed
from apo.core.records import write_json
from apo.core.tables import write_csv
from apo.model import runtime
from apo.model.checkpoint import Writer, load_language_model, save_language_model
from apo.model.limits import check_vocabulary
from apo.training.model_card import language_model_card

LAST = 20  # number of last steps that the `final_` metrics average


class Outputs(NamedTuple):
    """The paths of the outputs."""

    out: Path  # folder of the checkpoint
    curves: Path  # CSV file
    metrics: Path  # JSON file


def finish(
    name: str,
    model: Any,
    tokenizer: Any,
    curve: Sequence[Mapping[str, Any]],
    *,
    found: Mapping[str, Any],
    counts: Mapping[str, int],
    card: Mapping[str, Any],
    dtype: str,
    to: Outputs,
    more: Writer | None = None,
) -> None:
    """Saves a language model, its curve, and its metrics, in rank 0.

    Args:
        name: The key of the metrics.
        model: The language model.
        tokenizer: Its tokenizer.
        curve: One row per step.
        found: Further metrics.
        counts: Counts of the encoding, added to the metrics.
        card: Arguments of `language_model_card`.
        dtype: Of the stored weights.
        to: The paths of the outputs.
        more: See `save_language_model`.
    """
    if not distributed.is_main_process():
        return
    text = language_model_card(to.out, parameters=model.num_parameters(), **card)
    save_language_model(model, tokenizer, to.out, text, more, dtype=dtype)
    write_csv(to.curves, curve)
    last = curve[-LAST:]
    means = {key: sum(row[key] for row in last) / len(last) for key in last[0] if key not in ("step", "lr")}
    final = {f"final_{key}": mean for key, mean in means.items()}
    write_json(to.metrics, {name: {**found, **final, **dict(sorted(counts.items()))}})


def adopt_checkpoint(
    name: str, start: Path, tokenizer: Any, said: Mapping[str, Any], *, dtype: str, to: Outputs
) -> None:
    """Copies a checkpoint of the user without training, in rank 0.

    Args:
        name: The key of the metrics.
        start: The checkpoint.
        tokenizer: Its tokenizer, with the chat template that it gets.
        said: Added to the metrics.
        dtype: Of the stored weights.
        to: The paths of the outputs.

    Raises:
        UserError: It is no checkpoint, or tokenizer and model do not fit together.
    """
    runtime.set_up()
    if not distributed.is_main_process():
        return
    model = load_language_model(start)
    check_vocabulary(tokenizer, model, where=str(start))
    metrics = {"parameters": model.num_parameters(), **said}
    card, curve = {"start": start}, [{"step": 0}]
    finish(name, model, tokenizer, curve, found=metrics, counts={}, card=card, dtype=dtype, to=to)
