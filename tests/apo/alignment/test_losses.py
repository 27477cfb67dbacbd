"""apo/losses.py: values by hand, closed-form gradients, what is masked."""

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from apo.alignment import losses
from apo.alignment.losses import (
    best_responses,
    dpo_sum,
    hinge,
    implicit_rewards,
    nll_sum,
    ordered,
    per_token,
    rrhf_rank_sum,
)
from apo.losses import pair_loss_sums


def row(*values: float, grad: bool = False) -> Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=grad)


def everything(scores: Tensor) -> Tensor:
    return torch.ones_like(scores, dtype=torch.bool)


def gradient(leaf: Tensor) -> list[float]:
    assert leaf.grad is not None
    gradients: list[float] = leaf.grad[0].tolist()
    return gradients


def test_the_docstring_examples() -> None:
    assert doctest.testmod(losses) == (0, 2)


# RJS


def test_best_responses_takes_the_first_with_the_highest_score() -> None:
    scores = torch.tensor([[1.0, 3.0, 3.0], [9.0, 2.0, 1.0], [-5.0, -4.0, -9.0]])
    mask = torch.tensor([[True, True, True], [False, True, True], [True, True, True]])
    assert best_responses(scores, mask=mask).int().tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert not best_responses(scores, mask=torch.zeros_like(mask)).any()


def test_nll_sum_by_hand() -> None:
    logs = row(-2.0, -3.0, -5.0, grad=True)
    loss = nll_sum(logs, mask=torch.tensor([[True, False, True]]))
    loss.backward()
    assert loss.item() == 7.0
    assert gradient(logs) == [-1.0, 0.0, -1.0]  # descent raises the likelihood


# RRHF


def test_rrhf_rank_sum_by_hand() -> None:
    # p = -8/4 = -2, -3/3 = -1, -6/4 = -1.5. Pairs (better, worse) by score: (0, 1), (0, 2), (2, 1), and
    # max(0, p_worse - p_better): -1 + 2 = 1, -1.5 + 2 = 0.5, -1 + 1.5 = 0.5.
    logs = row(-8.0, -3.0, -6.0, grad=True)
    tokens, scores = torch.tensor([[4, 3, 4]]), row(3.0, 1.0, 2.0)
    loss = rrhf_rank_sum(logs, tokens, scores, mask=everything(scores))
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    # d/dp = -2, +2, -1 + 1; divided by the tokens.
    assert gradient(logs) == pytest.approx([-2 / 4, 2 / 3, 0.0])


def test_rrhf_rank_sum_costs_the_distance_of_a_wrong_order() -> None:
    tokens, scores, logs = torch.tensor([[1, 1]]), row(1.0, 0.0), row(-1.0, -4.0)
    assert rrhf_rank_sum(logs, tokens, scores, mask=everything(scores)).item() == 0.0
    assert rrhf_rank_sum(logs.flip(1), tokens, scores, mask=everything(scores)).item() == 3.0


def test_per_token_divides_by_the_length() -> None:
    """A longer response with the same probability of a token is no less likely; the sum would say so."""
    scores = row(1.0, 0.0)
    long_better = rrhf_rank_sum(row(-20.0, -3.0), torch.tensor([[20, 2]]), scores, mask=everything(scores))
    assert long_better.item() == 0.0  # -1 against -1.5
    assert per_token(row(-20.0, -3.0), torch.tensor([[20, 2]])).tolist() == [[-1.0, -1.5]]


def test_rrhf_rank_sum_has_no_gradient_at_a_tie() -> None:
    logs = row(-2.0, -2.0, grad=True)
    rrhf_rank_sum(logs, torch.tensor([[1, 1]]), row(1.0, 0.0), mask=everything(logs)).backward()
    assert gradient(logs) == [0.0, 0.0]
    assert rrhf_rank_sum(row(-9.0, -1.0), torch.tensor([[1, 1]]), row(2.0, 2.0), mask=everything(logs)) == 0


# DPO


def test_dpo_sum_by_hand() -> None:
    # beta 0.5: implicit rewards 0.5 * (-4 + 6) = 1 and 0.5 * (-7 + 5) = -1, margin 2: ln(1 + e^-2).
    policy, reference = row(-4.0, -7.0, grad=True), row(-6.0, -5.0)
    scores = row(1.0, 0.0)
    loss = dpo_sum(policy, reference, scores, mask=everything(scores), beta=0.5)
    loss.backward()
    assert implicit_rewards(policy, reference, beta=0.5).tolist() == [[1.0, -1.0]]
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)))
    # -beta * sigma(-margin) for the better one (Rafailov et al., section 4), the opposite for the worse.
    slope = 0.5 / (1 + math.exp(2))
    assert gradient(policy) == pytest.approx([-slope, slope])


def test_dpo_sum_turns_with_the_scores_and_the_reference() -> None:
    policy, reference, scores = row(-4.0, -7.0), row(-6.0, -5.0), row(0.0, 1.0)
    turned = dpo_sum(policy, reference, scores, mask=everything(scores), beta=0.5)
    assert turned.item() == pytest.approx(math.log1p(math.exp(2)))
    exchanged = dpo_sum(reference, policy, scores, mask=everything(scores), beta=0.5)
    assert exchanged.item() == pytest.approx(math.log1p(math.exp(-2)))


@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
def test_dpo_sum_is_ln_2_at_the_reference_whatever_beta(beta: float) -> None:
    policy = row(-4.0, -70.0, grad=True)
    loss = dpo_sum(policy, policy.detach(), row(1.0, 0.0), mask=everything(policy), beta=beta)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert gradient(policy) == pytest.approx([-beta / 2, beta / 2])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), constant=st.floats(-50, 50))
def test_dpo_sum_ignores_a_constant_on_the_likelihoods_of_a_query(seed: int, constant: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    policy, reference, scores = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    mask = everything(scores)
    torch.testing.assert_close(
        dpo_sum(policy, reference, scores, mask=mask, beta=0.3),
        dpo_sum(policy + constant, reference, scores, mask=mask, beta=0.3),
    )


# All


@pytest.mark.parametrize("poison", [0.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["rjs", "rrhf", "dpo"])
def test_losses_of_masked_responses_are_zero_with_zero_gradients(name: str, poison: float) -> None:
    logs, scores = row(poison, poison, -1.0, grad=True), row(0.0, 1.0, 2.0)
    nothing, reference, tokens = ~everything(scores), row(poison, -2.0, -2.0), torch.tensor([[0, 0, 3]])
    loss = {
        "rjs": lambda: nll_sum(logs, mask=nothing),
        "rrhf": lambda: rrhf_rank_sum(logs, tokens, scores, mask=nothing),
        "dpo": lambda: dpo_sum(logs, reference, scores, mask=nothing, beta=0.1),
    }[name]()
    loss.backward()
    assert loss.item() == 0.0
    assert gradient(logs) == [0.0, 0.0, 0.0]


def test_losses_ignore_the_content_of_a_masked_slot() -> None:
    mask, scores, tokens = torch.tensor([[True, False, True]]), row(1.0, 2.0, 0.0), torch.tensor([[2, 0, 2]])
    results = []
    for value in (0.0, math.nan, -math.inf):
        logs = row(-8.0, value, -2.0, grad=True)
        reference = row(-4.0, value, -4.0)
        loss = rrhf_rank_sum(logs, tokens, scores, mask=mask)
        loss = loss + dpo_sum(logs, reference, scores, mask=mask, beta=0.1)
        loss = loss + nll_sum(logs, mask=best_responses(scores, mask=mask))
        loss.backward()
        results.append((loss.item(), gradient(logs)))
    assert results[0] == results[1] == results[2]
    assert results[0][1][0] < 0 < results[0][1][2] and results[0][1][1] == 0.0


def test_losses_have_the_gradients_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    logs = (-9 * torch.rand(3, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    reference = -9 * torch.rand(3, 4, generator=generator, dtype=torch.float64)
    scores = torch.randint(0, 3, (3, 4), generator=generator).double()
    tokens, mask = torch.randint(1, 9, (3, 4), generator=generator), scores < 9
    mask[1, 2] = False
    assert torch.autograd.gradcheck(lambda x: rrhf_rank_sum(x, tokens, scores, mask=mask), logs)
    assert torch.autograd.gradcheck(lambda x: dpo_sum(x, reference, scores, mask=mask, beta=0.4), logs)


def test_ordered_counts_a_tie_half() -> None:
    scores, values = row(2.0, 1.0, 0.0), row(5.0, 5.0, 7.0)  # a tie and two pairs the wrong way
    assert pair_loss_sums(values, scores, mask=everything(scores), pair_loss=ordered).tolist() == [0.5]
    assert hinge(torch.tensor([[[0.0, 2.0], [-3.0, 0.0]]])).tolist() == [[[0.0, 0.0], [3.0, 0.0]]]
