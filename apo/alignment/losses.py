"""The losses of alignment, RJS, RRHF and DPO, on the log-likelihoods of the responses of a query.

`log_likelihoods` are log pi(y | x) = sum_t log pi(y_t | x, y_<t), in nats. `tokens` are |y|, the number of
terms. `scores` are the rewards of the RM; only their order within an item matters. Every `.._sum` is a sum
over responses or pairs; the caller divides it by their number in the whole optimizer step. Masked responses
add exactly 0 to the sum and to every gradient.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import relu

from apo.losses import bradley_terry, pair_loss_sums


def best_responses(
    scores: Float[Tensor, "item resp"], *, mask: Bool[Tensor, "item resp"]
) -> Bool[Tensor, "item resp"]:
    """True for the response of each item with the highest score; of equal scores, the first."""
    masked_scores = torch.where(mask, scores, -math.inf)
    positions = torch.arange(scores.shape[1], device=scores.device)
    return mask & (positions == masked_scores.argmax(1, keepdim=True))


def nll_sum(
    log_likelihoods: Float[Tensor, "item resp"], *, mask: Bool[Tensor, "item resp"]
) -> Float[Tensor, ""]:
    """-sum log pi(y | x) over the responses in `mask`: RJS, and the SFT term of RRHF (Yuan et al., Eq. 3).

    The caller divides it by the number of tokens of these responses.
    """
    return -torch.where(mask, log_likelihoods, 0.0).sum()


def per_token(
    log_likelihoods: Float[Tensor, "item resp"], tokens: Int[Tensor, "item resp"]
) -> Float[Tensor, "item resp"]:
    """p = log pi(y | x) / |y| (Yuan et al., 2023, arXiv 2304.05302, Eq. 1); 0 / 0 is 0."""
    return log_likelihoods / tokens.clamp(min=1)


def hinge(margin: Float[Tensor, "item resp resp"]) -> Float[Tensor, "item resp resp"]:
    """max(0, -margin): pairs in order, and ties, have loss 0 and no gradient."""
    return relu(-margin)


def rrhf_rank_sum(
    log_likelihoods: Float[Tensor, "item resp"],
    tokens: Int[Tensor, "item resp"],
    scores: Float[Tensor, "item resp"],
    *,
    mask: Bool[Tensor, "item resp"],
) -> Float[Tensor, ""]:
    """Sum over the pairs r_i < r_j of max(0, p_i - p_j) (Yuan et al., 2023, Eq. 2).

    The caller divides it by the number of items.

    >>> two = torch.tensor([[-6.0, -4.0]])  # in 3 and 4 tokens: p = -2 for the better one, -1 for the worse
    >>> rrhf_rank_sum(two, torch.tensor([[3, 4]]), torch.tensor([[1.0, 0.0]]), mask=two < 0)
    tensor(1.)
    """
    values = per_token(log_likelihoods, tokens)
    return pair_loss_sums(values, scores, mask=mask, pair_loss=hinge).sum()


def implicit_rewards(
    policy: Float[Tensor, "item resp"], reference: Float[Tensor, "item resp"], *, beta: float
) -> Float[Tensor, "item resp"]:
    """beta * log(pi(y | x) / pi_ref(y | x)) (Rafailov et al., 2023, arXiv 2305.18290, section 4)."""
    return beta * (policy - reference)


def dpo_sum(
    policy: Float[Tensor, "item resp"],
    reference: Float[Tensor, "item resp"],
    scores: Float[Tensor, "item resp"],
    *,
    mask: Bool[Tensor, "item resp"],
    beta: float,
) -> Float[Tensor, ""]:
    """Sum of -log sigma(beta log(pi/ref)(y_w) - beta log(pi/ref)(y_l)) (Rafailov et al., 2023, Eq. 7).

    The Bradley-Terry loss of the implicit rewards, over the pairs (w, l) with a higher score for w. The
    caller divides it by the number of pairs.

    Args:
        reference: log pi_ref(y | x), a constant.
        beta: Weight of the KL penalty to the reference; above 0.
    """
    rewards = implicit_rewards(policy, reference, beta=beta)
    return pair_loss_sums(rewards, scores, mask=mask, pair_loss=bradley_terry).sum()


def ordered(margin: Float[Tensor, "item resp resp"]) -> Float[Tensor, "item resp resp"]:
    """1 for a pair in order, 1/2 for a tie, 0 otherwise; a metric without gradient."""
    return torch.heaviside(margin.detach(), margin.new_tensor(0.5))
