"""Training of a language model on scored samples by RJS, RRHF or DPO."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.losses import (
    best_responses,
    dpo_sum,
    implicit_rewards,
    nll_sum,
    ordered,
    per_token,
    rrhf_rank_sum,
)
from apo.alignment.settings import Align
from apo.core import distributed
from apo.losses import pair_loss_sums
from apo.model import runtime
from apo.model.batching import micro_batches, pad_responses
from apo.training.checkpointing import Checkpoints
from apo.training.engines import Terms
from apo.training.ranked_responses import RankedResponses
from apo.training.trainer import length_bucketed_batches, training_loop


@dataclass(frozen=True)
class RankedBatch:
    """The inputs of the losses of a micro-batch, and the denominators of its optimizer step."""

    log_likelihoods: Float[Tensor, "item resp"]
    reference: Float[Tensor, "item resp"]  # log-likelihoods of the model before training; 0 except for DPO
    tokens: Int[Tensor, "item resp"]
    scores: Float[Tensor, "item resp"]
    mask: Bool[Tensor, "item resp"]
    queries: int
    pairs: int
    best_tokens: int


def rjs(batch: RankedBatch, settings: Align) -> Terms:
    """Mean of -log pi over the tokens of the best responses of the step."""
    best = best_responses(batch.scores, mask=batch.mask)
    return {"loss": nll_sum(batch.log_likelihoods, mask=best) / batch.best_tokens}


def rrhf(batch: RankedBatch, settings: Align) -> Terms:
    """Ranking loss, mean over the queries of the step, and the loss of RJS, with their weights."""
    rank = rrhf_rank_sum(batch.log_likelihoods, batch.tokens, batch.scores, mask=batch.mask) / batch.queries
    sft = rjs(batch, settings)["loss"]
    mean_log_likelihoods = per_token(batch.log_likelihoods, batch.tokens)
    in_order = pair_loss_sums(mean_log_likelihoods, batch.scores, mask=batch.mask, pair_loss=ordered).sum()
    return {
        "loss": settings.rank_weight * rank + settings.sft_weight * sft,
        "rank_loss": rank,
        "sft_loss": sft,
        "ordered_pairs": in_order / batch.pairs,
    }


def dpo(batch: RankedBatch, settings: Align) -> Terms:
    """Mean over the pairs of the step: the best against the worst response of each query."""
    policy, reference, scores, mask = batch.log_likelihoods, batch.reference, batch.scores, batch.mask
    loss = dpo_sum(policy, reference, scores, mask=mask, beta=settings.beta)
    rewards = implicit_rewards(policy, reference, beta=settings.beta)
    in_order = pair_loss_sums(rewards, scores, mask=mask, pair_loss=ordered).sum()
    margin = pair_loss_sums(rewards, scores, mask=mask, pair_loss=lambda margins: margins).sum()
    return {
        "loss": loss / batch.pairs,
        "reward_accuracy": in_order / batch.pairs,
        "reward_margin": margin / batch.pairs,
    }


METHODS: Mapping[str, Callable[[RankedBatch, Align], Terms]] = MappingProxyType(
    {"rjs": rjs, "rrhf": rrhf, "dpo": dpo}
)
"""The losses by the value of `align.method` in params.yaml."""


def align(
    model: ResponseLikelihood,
    data: Sequence[RankedResponses],
    settings: Align,
    *,
    seed: int,
    desc: str,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Trains a language model on ranked responses.

    The reference of DPO is the model before training. Its log-likelihoods are computed before a checkpoint
    is restored, so that a resumed training has the same reference.

    Args:
        model: Trained in place.
        data: The responses that the method trains on, see `ranked_queries`.

    Returns:
        The curve of `training_loop` with the metrics of the method, computed before each step.
    """
    lengths = [model.tokens(ranked.item) for ranked in data]
    reference = [[0.0] * len(ranked.labels) for ranked in data]
    if settings.method == "dpo":
        reference = _log_likelihoods(model.to(runtime.device()), data, desc)

    def loss_of(step: list[int], indices: list[int]) -> Terms:
        micro_batch = [data[i] for i in indices]
        log_likelihoods = model([ranked.item for ranked in micro_batch])
        device, dtype = log_likelihoods.device, log_likelihoods.dtype
        scores = pad_responses([ranked.ranks for ranked in micro_batch], math.nan, dtype).to(device)
        response_lengths = [[len(ids) for ids in ranked.item.responses] for ranked in micro_batch]
        batch = RankedBatch(
            log_likelihoods=log_likelihoods,
            reference=pad_responses([reference[i] for i in indices], 0.0, dtype).to(device),
            tokens=pad_responses(response_lengths, 0, torch.long).to(device),
            scores=scores,
            mask=~scores.isnan(),
            queries=len(step),
            pairs=sum(data[i].pairs for i in step),
            best_tokens=sum(len(data[i].item.responses[0]) for i in step),
        )
        return METHODS[settings.method](batch, settings)

    runtime.enable_gradient_checkpointing(model.model)
    return training_loop(
        model,
        settings,
        batches=length_bucketed_batches(lengths, settings, seed=seed),
        lengths=lengths,
        loss_of=loss_of,
        desc=desc,
        checkpoints=checkpoints,
    )


@torch.no_grad()
def _log_likelihoods(
    model: ResponseLikelihood, data: Sequence[RankedResponses], desc: str
) -> list[list[float]]:
    """The log-likelihoods of all responses. The processes share the work; the model is not changed."""
    model.eval()
    budget = runtime.token_budget()
    lengths = [model.tokens(ranked.item) for ranked in data]
    groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))

    def compute(indices: list[int]) -> list[list[float]]:
        rows: list[list[float]] = model([data[i].item for i in indices]).tolist()
        return rows

    log_likelihoods: list[list[float]] = [[] for _ in data]
    values = distributed.share(partial(compute, indices) for indices in groups)
    with (
        tqdm(total=len(data), desc=f"{desc} reference", unit="query", disable=None) as progress,
        runtime.explain_oom("APO_TOKEN_BUDGET", budget),
    ):
        for indices, rows in zip(groups, values, strict=True):
            for index, row in zip(indices, rows, strict=True):
                log_likelihoods[index] = row[: len(data[index].labels)]
            progress.update(len(indices))
    return log_likelihoods
