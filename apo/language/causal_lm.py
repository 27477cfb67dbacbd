"""What pretraining and supervised fine-tuning share: encoded texts, loss, training and its outputs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from apo.core.cache import fingerprint
from apo.language.settings import ChatModel
from apo.model import runtime
from apo.model.batching import IGNORED, collate_texts
from apo.model.encoding import Encoder, ResponseSet
from apo.model.special_tokens import special_tokens, text_ids
from apo.training.checkpointing import Checkpoints
from apo.training.engines import Terms
from apo.training.language_outputs import finish
from apo.training.outputs import Outputs
from apo.training.settings import Optimizer
from apo.training.trainer import length_bucketed_batches, training_loop, warmup_metrics


def encode_documents(
    tokenizer: Any, texts: Iterable[str], *, max_length: int, counts: Counter[str]
) -> Iterator[ResponseSet]:
    """Encodes documents: `[bos]` is the prefix, text and `[eos]` the response; truncates on the right."""
    for ids in text_ids(tokenizer, list(texts), special_tokens(tokenizer)):
        counts["documents"] += 1
        counts["documents_cut"] += len(ids) > max_length - 2
        truncated = [*ids[: max_length - 2], tokenizer.eos_token_id]
        counts["tokens"] += len(truncated)
        yield ResponseSet([tokenizer.bos_token_id], [truncated])


def encode_answers(
    encoder: Encoder, rows: Iterable[tuple[str, str]], *, counts: Counter[str], where: str
) -> Iterator[ResponseSet]:
    """Encodes (query, response) pairs: the query is the prefix, and the response has its end token.

    A pair is dropped and counted if no token of the query would remain (`queries_dropped_cut_away`) or if the
    chat template refuses it (`dialogues_dropped`).
    """
    texts = ((query, [response]) for query, response in rows)
    for rendered in encoder.tokenize(texts, counts, where=where):
        item = encoder.truncate_query(rendered, counts) if rendered else None
        if item:
            yield item


def token_loss_sum(
    logits: Float[Tensor, "seq tok vocab"], labels: Int[Tensor, "seq tok"]
) -> Float[Tensor, ""]:
    """Sum of the negative log-likelihoods of the labelled tokens, in nats."""
    return cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def train_language_model(
    model: Any,
    items: Sequence[ResponseSet],
    settings: Optimizer,
    *,
    pad_id: int,
    seed: int,
    device: torch.device,
    desc: str,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Minimizes the mean loss per labelled token of each optimizer step; returns the curve."""

    def loss_of(step: list[int], micro_batch: list[int]) -> Terms:
        tokens = sum(len(items[i].responses[0]) for i in step)
        ids, attention, labels = collate_texts([items[i] for i in micro_batch], pad_id=pad_id)
        with runtime.autocast(device):
            logits = model(
                input_ids=ids.to(device), attention_mask=attention.to(device), use_cache=False
            ).logits
        return {"loss": token_loss_sum(logits.float(), labels.to(device)) / tokens}

    runtime.enable_gradient_checkpointing(model)
    lengths = [item.longest for item in items]
    return training_loop(
        model,
        settings,
        batches=length_bucketed_batches(lengths, settings, seed=seed),
        lengths=lengths,
        loss_of=loss_of,
        desc=desc,
        checkpoints=checkpoints,
    )


def train_and_save(
    name: str,
    model: Any,
    tokenizer: Any,
    items: Sequence[ResponseSet],
    settings: ChatModel,
    *,
    start: Path | None = None,
    source: Path,
    metrics: Mapping[str, Any],
    counts: Mapping[str, int],
    seed: int,
    outputs: Outputs,
) -> None:
    """Trains a language model, or resumes its training, and saves the outputs.

    Args:
        name: The key of the metrics.
        model: Trained in place.
        tokenizer: Its tokenizer, with the chat template.
        start: The start checkpoint; None for random weights.
        source: The file that `items` were read from.
        metrics, counts: See `finish`.
    """
    files = [start, source] if start else [source]
    key = fingerprint([settings, tokenizer.chat_template, seed, runtime.numerics()], files)
    with Checkpoints(name, key).lock() as checkpoints:
        curve = train_language_model(
            model,
            items,
            settings,
            pad_id=tokenizer.pad_token_id,
            seed=seed,
            device=runtime.device(),
            desc=name,
            checkpoints=checkpoints,
        )
        training = settings.model_dump(exclude={"start"})
        finish(
            name,
            model,
            tokenizer,
            curve,
            metrics={**metrics, **warmup_metrics(len(curve), settings)},
            counts=counts,
            card={"start": start, "trained_on": {source: len(items)}, "settings": training},
            dtype=settings.dtype,
            outputs=outputs,
            trained_from=start,
        )
