"""Training of reward models: comparisons and golden > samples, side by side in every optimiser step."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from apo import machine
from apo.config import Optimiser
from apo.losses import PairLoss, apo_loss_sums
from apo.model.batching import micro_batches
from apo.model.encoding import Item
from apo.model.reward_model import RewardModel
from apo.resume.states import Checkpoints
from apo.training.optimise import batches_of, optimise


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
        The curve of `optimise`.
    """

    def micro_losses(step: int) -> Iterator[Tensor]:
        chosen = [data[i] for i in batches[step]]
        pairs = sum(one.pairs for one in chosen)  # the denominator: all pairs of the optimiser step
        lengths = [model.tokens(one.item) for one in chosen]
        for indices in micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=machine.token_budget()):
            group = [chosen[i] for i in indices]
            rewards = model.rewards([one.item for one in group])
            scores = pad_sequence([torch.tensor(one.scores) for one in group], True, math.nan)
            sums = apo_loss_sums(
                rewards,
                scores.to(rewards.device),
                mask=~scores.isnan().to(rewards.device),
                is_apo=torch.tensor([one.is_apo for one in group]).to(rewards.device),
                kl_weight=kl_weight,
                apo_weight=apo_weight,
                adversarial=adversarial,
            )
            yield sums.total / pairs

    batches = batches_of([model.tokens(one.item) for one in data], settings, seed=seed)
    machine.spare_memory(model.classifier)
    return optimise(
        model,
        settings,
        steps=len(batches),
        micro_losses=micro_losses,
        what=what,
        checkpoints=checkpoints,
        look=look,
        look_every=look_every,
    )
