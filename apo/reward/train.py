"""Training of reward models: human comparisons and golden > samples, in proportion in every step."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from apo.losses import apo_loss_sum, pairs_in_order
from apo.model import runtime
from apo.model.batching import pad_responses
from apo.model.reward_model import RewardModel
from apo.training.checkpointing import Checkpoints
from apo.training.engines import Terms
from apo.training.ranked_responses import RankedResponses
from apo.training.settings import Optimizer
from apo.training.trainer import length_bucketed_batches, training_loop


def train_reward_model(
    model: RewardModel,
    data: Sequence[RankedResponses],
    settings: Optimizer,
    *,
    seed: int,
    desc: str,
    checkpoints: Checkpoints,
    kl_coeff: float = 1.0,
    coeff: float = 0.0,
    num_samples: int = 1,
    loss: str = "ranking",
    eval_fn: Callable[[int], dict[str, float]] | None = None,
    eval_steps: int = 0,
) -> list[dict[str, float]]:
    """Minimizes the APO loss (Eq. 15 to 17); without golden > samples it is the loss of the base RM.

    Args:
        model: Trained in place.
        data: Human comparisons and golden > samples; each has at least one pair.
        kl_coeff, coeff, num_samples, loss: Section `apo` of params.yaml; see `apo_loss_sum`.
        eval_fn: Called every `eval_steps` steps and after the last step; its metrics are added to the curve.
        eval_steps: 0 switches `eval_fn` off.

    Returns:
        The curve of `training_loop`, with `accuracy`, the fraction of the step's human pairs that were in
        order before the update (a tie counts half), and `golden_accuracy`, the same of its golden > sample
        pairs; each is absent in a step without such pairs.
    """
    weights = {"kl_coeff": kl_coeff, "coeff": coeff, "num_samples": num_samples, "loss": loss}
    lengths = [model.tokens(responses.item) for responses in data]
    runtime.enable_gradient_checkpointing(model.classifier)
    return training_loop(
        model,
        settings,
        batches=length_bucketed_batches(
            lengths, settings, seed=seed, kinds=[responses.is_adversarial for responses in data]
        ),
        lengths=lengths,
        loss_of=partial(_terms, model, data, weights),
        desc=desc,
        checkpoints=checkpoints,
        eval_fn=eval_fn,
        eval_steps=eval_steps,
    )


def _terms(
    model: RewardModel,
    data: Sequence[RankedResponses],
    weights: Mapping[str, Any],
    step: list[int],
    indices: list[int],
) -> Terms:
    """The loss of a micro-batch and its terms of the accuracies of the step; see `LossOf`.

    Args:
        weights: `kl_coeff`, `coeff`, `num_samples` and `loss` of `apo_loss_sum`.
    """
    total_pairs = sum(data[i].pairs for i in step)  # the denominator: all pairs of the optimizer step
    batch = [data[i] for i in indices]
    rewards = model.rewards([responses.item for responses in batch])
    labels = pad_responses([responses.ranks for responses in batch], math.nan, torch.float32)
    labels, mask = labels.to(rewards.device), ~labels.isnan().to(rewards.device)
    is_adversarial = torch.tensor([responses.is_adversarial for responses in batch]).to(rewards.device)
    loss = apo_loss_sum(
        rewards,
        labels,
        mask=mask,
        is_adversarial=is_adversarial,
        **weights,
    )
    in_order = pairs_in_order(rewards.detach(), labels, mask=mask).double()
    terms = {"loss": loss / total_pairs}
    for name, is_golden in (("accuracy", False), ("golden_accuracy", True)):
        if count := sum(data[i].pairs for i in step if data[i].is_adversarial == is_golden):
            terms[name] = in_order[is_adversarial == is_golden].sum() / count
    return terms
