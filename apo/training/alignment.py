"""Alignment of a language model with the order of scored samples: RJS, RRHF, DPO on one training loop."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from apo import machine
from apo.alignment_losses import (
    best_responses,
    dpo_sum,
    implicit_rewards,
    nll_sum,
    ordered,
    per_token,
    rrhf_rank_sum,
)
from apo.config import Align
from apo.losses import pair_loss_sums
from apo.model.batching import micro_batches
from apo.model.likelihood import ResponseLikelihood
from apo.resume.states import Checkpoints
from apo.training.optimise import batches_of, optimise
from apo.training.preferences import Ranking


@dataclass(frozen=True)
class Responses:
    """What the losses of a micro batch are made of, and the denominators of its optimiser step."""

    log_likelihoods: Float[Tensor, "item resp"]
    reference: Float[Tensor, "item resp"]  # of the model before its first step; nothing but DPO has one
    tokens: Int[Tensor, "item resp"]
    scores: Float[Tensor, "item resp"]
    mask: Bool[Tensor, "item resp"]
    queries: int
    pairs: int
    best_tokens: int


Terms = dict[str, Tensor]
"""`loss`, the part of the step's loss, and parts of the numbers that join the curve."""


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
    what: str,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Trains a language model on ranked responses.

    The reference of DPO is the model as it comes in. Its log-likelihoods are computed before the first step,
    and before a state is restored: a training that goes on has the same reference.

    Args:
        model: Trained in place.
        data: Rankings, each with at least one pair.
        settings: Method, its weights, and the optimiser's.
        what: Name on the progress line.

    Returns:
        The curve of `optimise` with the numbers of the method, each computed before the step.
    """
    learned = [learned_from(one, settings.method) for one in data]
    lengths = [model.tokens(one.item) for one in learned]
    batches = batches_of(lengths, settings, seed=seed)
    reference = _log_likelihoods(model, learned, what) if settings.method == "dpo" else []
    seen: list[Terms] = []  # of the micro batches of a step

    def micro_losses(step: int) -> Iterator[Tensor]:
        seen.clear()
        chosen = [learned[i] for i in batches[step]]
        totals = {
            "queries": len(chosen),
            "pairs": sum(one.pairs for one in chosen),
            "best_tokens": sum(len(one.item.responses[0]) for one in chosen),
        }
        for indices in _groups([lengths[i] for i in batches[step]]):
            group = [chosen[i] for i in indices]
            found = model([one.item for one in group])
            device, dtype = found.device, found.dtype
            scores = _padded([one.scores for one in group], math.nan, dtype).to(device)
            tokens = _padded([[len(r) for r in one.item.responses] for one in group], 0, torch.long)
            before = torch.zeros_like(found)
            if reference:
                known = [reference[batches[step][i]] for i in indices]
                before = _padded(known, 0.0, dtype).to(device)
            responses = Responses(found, before, tokens.to(device), scores, ~scores.isnan(), **totals)
            terms = METHODS[settings.method](responses, settings)
            loss = terms.pop("loss")
            seen.append({name: term.detach() for name, term in terms.items()})
            yield loss

    def look(step: int) -> dict[str, float]:
        return {name: torch.stack([terms[name] for terms in seen]).sum().item() for name in seen[0]}

    machine.spare_memory(model.model)
    return optimise(
        model,
        settings,
        steps=len(batches),
        micro_losses=micro_losses,
        what=what,
        checkpoints=checkpoints,
        look=look,
        look_every=1,
    )


@torch.no_grad()
def _log_likelihoods(model: ResponseLikelihood, data: Sequence[Ranking], what: str) -> list[list[float]]:
    """Those of all responses as the model stands, which is left as it is."""
    model.eval()
    found: list[list[float]] = [[] for _ in data]
    lengths = [model.tokens(one.item) for one in data]
    with (
        tqdm(total=len(data), desc=f"{what} reference", unit="query", disable=None) as progress,
        machine.memory_for("APO_TOKEN_BUDGET", machine.token_budget()),
    ):
        for indices in _groups(lengths):
            values = model([data[i].item for i in indices]).tolist()
            for index, row in zip(indices, values, strict=True):
                found[index] = row[: len(data[index].scores)]
            progress.update(len(indices))
    return found


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    return micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=machine.token_budget())


def _padded(rows: Sequence[Sequence[float]], value: float, dtype: torch.dtype) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], True, value)
