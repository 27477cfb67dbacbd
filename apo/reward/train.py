"""Training of reward models: comparisons and golden > samples, side by side in every optimiser step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from apo.losses import PairLoss, apo_loss_sums, pairs_in_order
from apo.model import runtime
from apo.model.batching import rectangle
from apo.model.encoding import Item
from apo.model.reward_model import RewardModel
from apo.training.checkpointing import Checkpoints
from apo.training.engines import Terms
from apo.training.settings import Optimiser
from apo.training.trainer import batches_of, optimise


@dataclass(frozen=True)
class Ranked:
    """An encoded item with the scores of its responses; `is_apo` for golden > samples."""

    item: Item
    scores: list[float]
    is_apo: bool = False

    @property
    def pairs(self) -> int:
        """Ordered pairs of responses with different scores."""
        return sum(a > b for a in self.scores for b in self.scores)


def train_reward_model(
    model: RewardModel,
    data: Sequence[Ranked],
    settings: Optimiser,
    *,
    kl_weight: float,
    apo_weight: float,
    adversarial: PairLoss,
    seed: int,
    what: str,
    checkpoints: Checkpoints,
    look: Callable[[int], dict[str, float]] | None = None,
    look_every: int = 0,
) -> list[dict[str, float]]:
    """Minimises the loss of Eq. 15 to 17; without items golden > samples it is the base RM's.

    Args:
        model: Trained in place.
        data: Comparisons and items golden > samples; every one has at least one pair.
        kl_weight: Weight of a human pair.
        apo_weight: Weight of a pair golden > sample.
        adversarial: Loss of a pair golden > sample.

    Returns:
        The curve of `optimise`, with `accuracy`, the fraction of the step's human pairs that were in order
        before the update, a tie counted half, and `golden_accuracy`, that of its pairs golden > sample; each
        is absent in a step without such pairs.
    """

    def loss_of(step: list[int], items: list[int]) -> Terms:
        pairs = sum(data[i].pairs for i in step)  # the denominator: all pairs of the optimiser step
        group = [data[i] for i in items]
        rewards = model.rewards([one.item for one in group])
        scores = rectangle([one.scores for one in group], math.nan, torch.float32)
        scores, mask = scores.to(rewards.device), ~scores.isnan().to(rewards.device)
        is_apo = torch.tensor([one.is_apo for one in group]).to(rewards.device)
        sums = apo_loss_sums(
            rewards,
            scores,
            mask=mask,
            is_apo=is_apo,
            kl_weight=kl_weight,
            apo_weight=apo_weight,
            adversarial=adversarial,
        )
        right = pairs_in_order(rewards.detach(), scores, mask=mask).double()
        terms = {"loss": sums.total / pairs}
        for name, kind in (("accuracy", False), ("golden_accuracy", True)):
            if count := sum(data[i].pairs for i in step if data[i].is_apo == kind):
                terms[name] = right[is_apo == kind].sum() / count
        return terms

    lengths = [model.tokens(one.item) for one in data]
    runtime.spare_memory(model.classifier)
    return optimise(
        model,
        settings,
        batches=batches_of(lengths, settings, seed=seed),
        lengths=lengths,
        loss_of=loss_of,
        what=what,
        checkpoints=checkpoints,
        look=look,
        look_every=look_every,
    )
