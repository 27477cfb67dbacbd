"""Alignment from a checkpoint and scored samples to a checkpoint, its curve and metrics."""

from collections import Counter
from pathlib import Path

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.rankings import ranked_queries
from apo.alignment.settings import Align
from apo.alignment.train import align
from apo.core import distributed
from apo.core.cache import fingerprint
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.model import runtime
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.encoders import language_encoder
from apo.training.checkpointing import Checkpoints
from apo.training.language_outputs import finish
from apo.training.lora import add_adapters, merge_adapters, trained_weights
from apo.training.outputs import Outputs
from apo.training.trainer import warmup_metrics


def align_model(
    name: str,
    start: Path,
    scored: Path,
    settings: Align,
    *,
    seed: int,
    outputs: Outputs,
) -> None:
    """Aligns the language model in `start` with the scores of its samples.

    Args:
        name: The key of the metrics.
        start: The checkpoint to start from; for DPO also the reference.
        scored: Rows `{query, samples, scores}` of stage rjs.
        seed: Seed of the order of the queries and of the adapters.

    Raises:
        UserError: No query has responses with different scores, or `start` is not a checkpoint.
    """
    runtime.set_up()
    tokenizer = load_tokenizer(start)
    language_model = load_language_model(start)
    tuner = add_adapters(language_model, settings.lora, seed=seed, where="align.lora")
    model = ResponseLikelihood(language_model, pad_id=tokenizer.pad_token_id, max_length=settings.max_length)
    encoder = language_encoder(start, tokenizer, max_length=settings.max_length, parameter="align.max_length")
    counts: Counter[str] = Counter()
    if tuner:
        counts["trained_weights"] = trained_weights(language_model)
    rows = read_rows(scored, "query")
    data = list(ranked_queries(rows, encoder, counts, method=settings.method, where=str(scored)))
    if not data:
        raise _nothing_to_learn(scored, counts)
    if settings.method != "rjs":
        counts["pairs"] = sum(ranked.pairs for ranked in data)
    key = fingerprint([settings, seed, runtime.numerics()], [start, scored])
    with Checkpoints(name, key).lock() as checkpoints:
        curve = align(model, data, settings, seed=seed, desc=name, checkpoints=checkpoints)
        adapter = merge_adapters(tuner) if distributed.is_main_process() else None  # takes memory
        training = settings.model_dump(exclude=set() if tuner else {"lora"})
        card = {"start": start, "trained_on": {scored: len(data)}, "settings": training}
        finish(
            name,
            language_model,
            tokenizer,
            curve,
            metrics=warmup_metrics(len(curve), settings),
            counts=counts,
            card=card,
            dtype=settings.dtype,
            outputs=outputs,
            trained_from=start,
            save_extra=adapter.save if adapter else None,
        )


def _nothing_to_learn(scored: Path, counts: Counter[str]) -> UserError:
    reasons = {key.rpartition("_")[2]: count for key, count in counts.items() if "dropped" in key and count}
    dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return UserError(
        str(scored),
        found=f"nothing to learn from in {counts['queries']} queries ({dropped or 'the file is empty'})",
        expected="queries with at least two different samples and scores",
        do="look at the samples; raise `sample.llm.num_samples` or `sample.llm.temperature`",
    )
