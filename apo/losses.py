"""The losses of the game, on the rewards of response sets (Cheng et al., 2024, arXiv 2311.08045).

Every function returns sums over pairs. The caller divides by the number of pairs of the whole optimizer step,
so that the loss does not depend on micro-batches and processes. In the authors' data a label below 0 marks
padding: `mask = labels >= 0`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

PairLoss = Callable[[Tensor], Tensor]


def bradley_terry(margin: Float[Tensor, "item resp resp"]) -> Float[Tensor, "item resp resp"]:
    """-log sigma(r_i - r_j), in nats: a tie costs ln 2, the gradient in the margin is sigma(margin) - 1."""
    return -logsigmoid(margin)


def wgan(margin: Float[Tensor, "item resp resp"]) -> Float[Tensor, "item resp resp"]:
    """-(r_i - r_j), Eq. 14: the reward model maximizes the margin itself; unbounded below."""
    return -margin


PAIR_LOSSES: Mapping[str, PairLoss] = MappingProxyType({"ranking": bradley_terry, "wgan": wgan})
"""The adversarial terms by their name in params.yaml, `apo.loss`."""


def ordered_pairs(
    labels: Float[Tensor, "item resp"], *, mask: Bool[Tensor, "item resp"]
) -> Bool[Tensor, "item resp resp"]:
    """[item, i, j] is True where s_i > s_j and both are real. Ties and masked responses have no pair."""
    real = mask.unsqueeze(2) & mask.unsqueeze(1)
    return real & (labels.unsqueeze(2) > labels.unsqueeze(1))


def pairs_in_order(
    rewards: Float[Tensor, "item resp"],
    labels: Float[Tensor, "item resp"],
    *,
    mask: Bool[Tensor, "item resp"],
) -> Float[Tensor, "item"]:
    """The number of pairs (s_i > s_j) of each item with r_i > r_j; a tie r_i = r_j counts half."""
    pairs = ordered_pairs(labels, mask=mask)
    margin = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    return torch.where(pairs, (margin.sign() + 1) / 2, 0.0).sum(dim=(1, 2))


def pair_loss_sums(
    rewards: Float[Tensor, "item resp"],
    labels: Float[Tensor, "item resp"],
    *,
    mask: Bool[Tensor, "item resp"],
    pair_loss: PairLoss,
) -> Float[Tensor, "item"]:
    """Sum over the ordered pairs (s_i > s_j) of each item of pair_loss(r_i - r_j).

    Anything else adds exactly 0 to the sum and to every gradient, even if its reward is inf or NaN.

    Args:
        rewards: r = RM(query, response), float32 or wider.
        labels: s, higher for a better response; only their order within an item counts.
        pair_loss: `bradley_terry` or `wgan`.

    Returns:
        One sum per item, 0 if an item has no pair.

    >>> tie = torch.zeros(1, 2)
    >>> pair_loss_sums(tie, torch.tensor([[1.0, 0.0]]), mask=tie == 0, pair_loss=bradley_terry)
    tensor([0.6931])
    """
    pairs = ordered_pairs(labels, mask=mask)
    margin = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    margin = torch.where(pairs, margin, 0.0)  # before the loss: a gradient through inf - inf would be NaN
    return torch.where(pairs, pair_loss(margin), 0.0).sum(dim=(1, 2))


def apo_loss_sum(
    rewards: Float[Tensor, "item resp"],
    labels: Float[Tensor, "item resp"],
    *,
    mask: Bool[Tensor, "item resp"],
    is_adversarial: Bool[Tensor, "item"],
    kl_coeff: float,
    coeff: float,
    num_samples: int,
    loss: str,
) -> Float[Tensor, ""]:
    """The APO loss of a batch of human comparisons and of golden > samples, side by side.

    L = [kl_coeff * sum_human BT + coeff / num_samples * sum_golden>sample loss] / pairs, Eq. 15 to 17, where
    `pairs` counts both kinds over the whole optimizer step, also at weight 0. The sum in brackets is
    returned. Of human comparisons alone, with `kl_coeff` 1, it is the loss of the base RM and the testing RM.

    Args:
        rewards, labels: See `pair_loss_sums`.
        is_adversarial: True for an item golden > samples, False for a human comparison.
        kl_coeff: Weight of a human pair, whose loss is always `bradley_terry`.
        coeff: Weight of a golden answer against all its samples.
        num_samples: Samples per golden answer, among which `coeff` is divided.
        loss: Key of `PAIR_LOSSES`, the loss of a pair golden > sample.
    """
    human_items = mask & ~is_adversarial.unsqueeze(1)
    adversarial_items = mask & is_adversarial.unsqueeze(1)
    # Forward KL[P || Q] with hard labels P is the Bradley-Terry loss of the human pairs (Eq. 16 and 17).
    human = pair_loss_sums(rewards, labels, mask=human_items, pair_loss=bradley_terry).sum()
    # E[r(golden) - r(sample)] (Eq. 14), or its log-sigmoid form (Eq. 15).
    pair_loss = PAIR_LOSSES[loss]
    adversarial = pair_loss_sums(rewards, labels, mask=adversarial_items, pair_loss=pair_loss).sum()
    return kl_coeff * human + coeff / num_samples * adversarial
