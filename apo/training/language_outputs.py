"""Writes the outputs of the training of a language model: checkpoint with model card, curve and metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.core import distributed
from apo.core.records import write_json
from apo.core.tables import write_csv
from apo.model.checkpoint import Writer, save_language_model
from apo.model.checkpoint_files import unchanged_fraction
from apo.training.model_card import language_model_card
from apo.training.outputs import Outputs

LAST = 20  # number of last steps that the `final_` metrics average


def finish(
    name: str,
    model: Any,
    tokenizer: Any,
    curve: Sequence[Mapping[str, Any]],
    *,
    metrics: Mapping[str, Any],
    counts: Mapping[str, int],
    card: Mapping[str, Any],
    dtype: str,
    outputs: Outputs,
    trained_from: Path | None = None,
    save_extra: Writer | None = None,
) -> None:
    """Saves a language model, its curve, and its metrics, in rank 0.

    A training of small steps can be lost in the storage: what moves a weight by less than half of a digit of
    bfloat16 is rounded away. `saved.unchanged_weights` is the fraction that is stored as before.

    Args:
        name: The key of the metrics.
        curve: One row per step.
        metrics: The first metrics; the means of the last steps and `counts` follow them.
        counts: Counts of the encoding.
        card: Arguments of `language_model_card`.
        trained_from: The checkpoint that the training began with, if there is one.
        dtype, save_extra: See `save_checkpoint`.
    """
    if not distributed.is_main_process():
        return
    text = language_model_card(outputs.out, parameters=model.num_parameters(), **card)
    save_language_model(model, tokenizer, outputs.out, text, save_extra, dtype=dtype)
    write_csv(outputs.curves, curve)
    last = curve[-LAST:]
    means = {key: sum(row[key] for row in last) / len(last) for key in last[0] if key not in ("step", "lr")}
    final = {f"final_{key}": mean for key, mean in means.items()}
    saved = {}
    if trained_from and dtype != "float32":
        saved = {"saved": {"unchanged_weights": unchanged_fraction(trained_from, outputs.out)}}
    write_json(outputs.metrics, {name: {**metrics, **final, **dict(sorted(counts.items())), **saved}})
