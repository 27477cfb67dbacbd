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
from apo.alignment.rankings import Ranking
from apo.alignment.settings import Align
from apo.core import distributed
from apo.losses import pair_loss_sums
from apo.model import runtime
from apo.model.batching import micro_batches, pad_responses
from apo.training.checkpointing import Checkpoints
from apo.training.engines import Terms
from apo.training.trainer import length_bucketed_batches, training_loop


@dataclass(frozen=True)
class Responses:
    """What the losses of a micro-batch are made of, and the denominators of its optimizer step."""

    log_likelihoods: Float[Tensor, "item resp"]
    reference: Float[Tensor, "item resp"]  # of the model before its first step; nothing but DPO has one
    tokens: Int[Tensor, "item resp"]
    scores: Float[Tensor, "item resp"]
    mask: Bool[Tensor, "item resp"]
    queries: int
    pairs: int
    best_tokens: int


def rjs(batch: Responses, settings: Align) -> Terms:
    """Mean of -log pi over the tokens of the best responses of the step."""
    best = best_responses(batch.scores, mask=batch.mask)
    return {"loss": nll_sum(batch.log_likelihoods, mask=best) / batch.best_tokens}


def rrhf(batch: Responses, settings: Align) -> Terms:
    """Ranking loss, mean over the queries of the step, and the loss of RJS, with their weights."""
    rank = rrhf_rank_sum(batch.log_likelihoods, batch.tokens, batch.scores, mask=batch.mask) / batch.queries
    sft = rjs(batch, settings)["loss"]
    values = per_token(batch.log_likelihoods, batch.tokens)
    right = pair_loss_sums(values, batch.scores, mask=batch.mask, pair_loss=ordered).sum()
    return {
        "loss": settings.rank_weight * rank + settings.sft_weight * sft,
        "rank_loss": rank,
        "sft_loss": sft,
        "ordered_pairs": right / batch.pairs,
    }


def dpo(batch: Responses, settings: Align) -> Terms:
    """Mean over the pairs of the step, one a query: the best response against the worst."""
    policy, reference, scores, mask = batch.log_likelihoods, batch.reference, batch.scores, batch.mask
    loss = dpo_sum(policy, reference, scores, mask=mask, beta=settings.beta)
    rewards = implicit_rewards(policy, reference, beta=settings.beta)
    right = pair_loss_sums(rewards, scores, mask=mask, pair_loss=ordered).sum()
    margin = pair_loss_sums(rewards, scores, mask=mask, pair_loss=lambda margins: margins).sum()
    return {
        "loss": loss / batch.pairs,
        "reward_accuracy": right / batch.pairs,
        "reward_margin": margin / batch.pairs,
    }


METHODS: Mapping[str, Callable[[Responses, Align], Terms]] = MappingProxyType(
    {"rjs": rjs, "rrhf": rrhf, "dpo": dpo}
)
"""By their name in `params.yaml: align.method`."""


def learned_from(ranking: Ranking, method: str) -> Ranking:
    """The responses that a method reads: the best, the best and the worst, all."""
    return {"rjs": ranking.only(0), "dpo": ranking.only(0, -1), "rrhf": ranking}[method]


def align(
    model: ResponseLikelihood,
    data: Sequence[Ranking],
    settings: Align,
    *,
    seed: int,
    desc: str,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Trains a language model on ranked responses.

    The reference of DPO is the model as it comes in. Its log-likelihoods are computed before the first step,
    and before a state is restored: a training that goes on has the same reference.

    Args:
        model: Trained in place.
        data: Rankings, each with at least one pair.
        settings: Method, its weights, and the optimizer's.
        desc: Name on the progress line.

    Returns:
        The curve of `training_loop` with the numbers of the method, each computed before the step.
    """
    learned = [learned_from(one, settings.method) for one in data]
    lengths = [model.tokens(one.item) for one in learned]
    reference: list[list[float]] = []
    if settings.method == "dpo":
        reference = _log_likelihoods(model.to(runtime.device()), learned, desc)

    def loss_of(step: list[int], items: list[int]) -> Terms:
        totals = {
            "queries": len(step),
            "pairs": sum(learned[i].pairs for i in step),
            "best_tokens": sum(len(learned[i].item.responses[0]) for i in step),
        }
        group = [learned[i] for i in items]
        found = model([one.item for one in group])
        device, dtype = found.device, found.dtype
        scores = pad_responses([one.scores for one in group], math.nan, dtype).to(device)
        tokens = pad_responses([[len(r) for r in one.item.responses] for one in group], 0, torch.long)
        before = torch.zeros_like(found)
        if reference:
            before = pad_responses([reference[i] for i in items], 0.0, dtype).to(device)
        responses = Responses(found, before, tokens.to(device), scores, ~scores.isnan(), **totals)
        return METHODS[settings.method](responses, settings)

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
def _log_likelihoods(model: ResponseLikelihood, data: Sequence[Ranking], desc: str) -> list[list[float]]:
    """Those of all responses as the model stands, which is left as it is; each process reads its share."""
    model.eval()
    budget = runtime.token_budget()
    lengths = [model.tokens(one.item) for one in data]
    groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))

    def of_group(indices: list[int]) -> list[list[float]]:
        rows: list[list[float]] = model([data[i].item for i in indices]).tolist()
        return rows

    found: list[list[float]] = [[] for _ in data]
    values = distributed.share(partial(of_group, indices) for indices in groups)
    with (
        tqdm(total=len(data), desc=f"{desc} reference", unit="query", disable=None) as progress,
        runtime.explain_oom("APO_TOKEN_BUDGET", budget),
    ):
        for indices, rows in zip(groups, values, strict=True):
            for index, row in zip(indices, rows, strict=True):
                found[index] = row[: len(data[index].scores)]
            progress.update(len(indices))
    return found
