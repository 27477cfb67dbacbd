"""apo/losses.py: values by hand, properties, closed-form gradients."""

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from apo import losses
from apo.losses import (
    apo_loss_sum,
    bradley_terry,
    ordered_pairs,
    pair_loss_sums,
    pairs_in_order,
    wgan,
)

FORMS = pytest.mark.parametrize("pair_loss", [bradley_terry, wgan])


def row(*values: float, grad: bool = False) -> Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=grad)


def everything(labels: Tensor) -> Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


def ranking_loss(rewards: Tensor, labels: Tensor, *, mask: Tensor) -> Tensor:
    """The Bradley-Terry loss over all pairs."""
    return pair_loss_sums(rewards, labels, mask=mask, pair_loss=bradley_terry).sum()


def random_items(seed: int, items: int = 5, responses: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, labels with ties, a mask with holes."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(items, responses, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (items, responses), generator=generator).double()
    mask = torch.rand(items, responses, generator=generator) > 0.2
    return rewards, labels, mask


def test_the_docstring_examples() -> None:
    assert doctest.testmod(losses) == (0, 2)


# Values by hand


def test_bradley_terry_of_a_tie_is_ln_2() -> None:
    labels = row(1.0, 0.0)
    assert ranking_loss(row(3.0, 3.0), labels, mask=everything(labels)).item() == pytest.approx(math.log(2))


def test_pairs_in_order_by_hand() -> None:
    """Of the pairs of the first item, (5, 5), (5, 7) and (5, 7), one is a tie and two are the wrong way."""
    labels = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
    rewards = torch.tensor([[5.0, 5.0, 7.0], [7.0, 6.0, 5.0], [0.0, 9.0, 4.0]])
    mask = everything(labels)
    assert pairs_in_order(rewards, labels, mask=mask).tolist() == [0.5, 3.0, 1.0]
    mask[1, 1] = False  # only 3 > 1 is left of the second
    assert pairs_in_order(rewards, labels, mask=mask).tolist() == [0.5, 1.0, 1.0]


def test_bradley_terry_costs_less_for_the_right_order() -> None:
    # sigma(ln 3) = 3/4 and sigma(-ln 3) = 1/4: -ln(3/4) ahead, -ln(1/4) behind.
    labels, ahead = row(1.0, 0.0), row(math.log(3), 0.0)
    assert ranking_loss(ahead, labels, mask=everything(labels)).item() == pytest.approx(math.log(4 / 3))
    assert ranking_loss(-ahead, labels, mask=everything(labels)).item() == pytest.approx(math.log(4))


def test_wgan_is_the_negative_margin() -> None:
    labels = row(0.0, 1.0, 1.0)  # pairs (1, 0) and (2, 0): -(5 - 2) - (-1 - 2) = 0; (1, 2) is a tie
    sums = pair_loss_sums(row(2.0, 5.0, -1.0), labels, mask=everything(labels), pair_loss=wgan)
    assert sums.tolist() == [0.0]
    sums = pair_loss_sums(row(2.0, 5.0, 0.0), labels, mask=everything(labels), pair_loss=wgan)
    assert sums.tolist() == [-1.0]


def test_ordered_pairs_are_all_strict_orders_of_real_responses() -> None:
    labels = row(2.0, 1.0, 1.0, 0.0)
    mask = torch.tensor([[True, True, True, False]])
    where = ordered_pairs(labels, mask=mask).nonzero().tolist()
    assert where == [[0, 0, 1], [0, 0, 2]]
    assert ordered_pairs(labels, mask=mask).sum().item() == 2
    assert (
        ordered_pairs(labels, mask=everything(labels)).sum().item() == 5
    )  # 3 below the first, 1 + 1 above the last


def test_ordered_pairs_of_golden_and_four_samples_are_four() -> None:
    labels = row(1.0, 0.0, 0.0, 0.0, 0.0)
    assert ordered_pairs(labels, mask=everything(labels)).sum().item() == 4


def test_apo_loss_sum_by_hand() -> None:
    # A human tie costs ln 2, two pairs golden > sample at margin ln 3 cost ln(4/3) each; 3 pairs in all.
    rewards = torch.tensor([[0.0, 0.0, 9.0], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([[0.0, 1.0, -1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    mask, is_adversarial = labels >= 0, torch.tensor([False, True])
    assert ordered_pairs(labels, mask=mask).sum().item() == 3
    total = apo_loss_sum(
        rewards,
        labels,
        mask=mask,
        is_adversarial=is_adversarial,
        kl_coeff=0.5,
        coeff=0.1,
        num_samples=4,
        loss="ranking",
    )
    assert total.item() == pytest.approx(0.5 * math.log(2) + 0.025 * 2 * math.log(4 / 3))


def test_apo_loss_sum_with_wgan_leaves_human_pairs_at_bradley_terry() -> None:
    rewards = torch.tensor([[0.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    total = apo_loss_sum(
        rewards,
        labels,
        mask=everything(labels),
        is_adversarial=torch.tensor([False, True]),
        kl_coeff=1.0,
        coeff=1.0,
        num_samples=1,
        loss="wgan",
    )
    assert total.item() == pytest.approx(math.log(2) - 2.0)


# Properties


@FORMS
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), constant=st.floats(-50, 50))
def test_pair_loss_sums_ignore_a_constant_on_all_rewards_of_an_item(pair_loss, seed, constant) -> None:
    rewards, labels, mask = random_items(seed)
    sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
    shifted = pair_loss_sums(rewards + constant, labels, mask=mask, pair_loss=pair_loss)
    torch.testing.assert_close(sums, shifted)


@FORMS
def test_pair_loss_sums_of_masked_equal_deleted(pair_loss) -> None:
    rewards, labels, _ = random_items(0)
    mask = everything(labels)
    mask[:, 2] = False
    kept = [0, 1, 3]
    deleted = pair_loss_sums(rewards[:, kept], labels[:, kept], mask=mask[:, kept], pair_loss=pair_loss)
    torch.testing.assert_close(
        pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss), deleted, rtol=0, atol=1e-15
    )


@FORMS
def test_pair_loss_sums_permute_with_responses_and_items(pair_loss) -> None:
    rewards, labels, mask = random_items(1)
    order, items = [2, 0, 3, 1], [4, 1, 0, 3, 2]
    sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
    permuted = pair_loss_sums(
        rewards[items][:, order], labels[items][:, order], mask=mask[items][:, order], pair_loss=pair_loss
    )
    torch.testing.assert_close(sums[items], permuted)


def test_pair_loss_sums_depend_on_the_order_of_scores_alone() -> None:
    rewards, labels, mask = random_items(2)
    assert torch.equal(
        ranking_loss(rewards, labels, mask=mask), ranking_loss(rewards, labels**3 - 7.0, mask=mask)
    )


@FORMS
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
def test_pair_loss_sums_of_nothing_are_zero_with_zero_gradients(pair_loss, poison) -> None:
    rewards = row(poison, poison, 0.0, grad=True)
    labels = row(0.0, 1.0, 2.0)
    loss = pair_loss_sums(rewards, labels, mask=~everything(labels), pair_loss=pair_loss).sum()
    loss.backward()
    assert loss.item() == 0.0
    assert rewards.grad is not None and rewards.grad.tolist() == [[0.0, 0.0, 0.0]]


@FORMS
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan, 1e300])
def test_pair_loss_sums_ignore_the_content_of_a_masked_slot(pair_loss, poison) -> None:
    mask, labels = torch.tensor([[True, False, True]]), row(1.0, 2.0, 0.0)
    results = []
    for value in (0.0, poison):
        rewards = row(0.5, value, 1.0, grad=True)
        loss = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss).sum()
        loss.backward()
        assert rewards.grad is not None
        results.append((loss.item(), rewards.grad.tolist()))
    assert results[0] == results[1]
    assert results[0][1][0][0] < 0 < results[0][1][0][2]  # descent raises the better one


def test_pair_loss_sums_of_a_real_nan_are_nan() -> None:
    labels = row(1.0, 0.0)
    assert ranking_loss(row(math.nan, 0.0), labels, mask=everything(labels)).isnan()


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_apo_loss_sum_of_micro_batches_add_up_to_the_step(cut) -> None:
    rewards, labels, mask = random_items(3)
    is_adversarial = torch.tensor([True, False, True, False, False])

    def sums(part: slice) -> tuple[Tensor, Tensor]:
        total = apo_loss_sum(
            rewards[part],
            labels[part],
            mask=mask[part],
            is_adversarial=is_adversarial[part],
            kl_coeff=1.0,
            coeff=0.1,
            num_samples=4,
            loss="ranking",
        )
        return total, ordered_pairs(labels[part], mask=mask[part]).sum()

    (whole, pairs), (first, one), (second, two) = map(sums, [slice(None), slice(cut), slice(cut, None)])
    assert pairs == one + two
    torch.testing.assert_close(whole, first + second, rtol=0, atol=1e-15)


# Gradients


def test_bradley_terry_gradient_is_sigma_minus_one() -> None:
    labels, rewards = row(0.0, 1.0), row(0.7, -0.4, grad=True)
    ranking_loss(rewards, labels, mask=everything(labels)).backward()
    slope = 1 / (1 + math.exp(1.1)) - 1  # margin r_1 - r_0 = -1.1
    assert rewards.grad is not None
    assert rewards.grad.tolist()[0] == pytest.approx([-slope, slope])


def test_bradley_terry_gradient_sums_over_the_pairs() -> None:
    values, levels = [0.3, -1.2, 2.0, 0.1], [1.0, 0.0, 0.5, 0.5]
    rewards, labels = row(*values, grad=True), row(*levels)
    ranking_loss(rewards, labels, mask=everything(labels)).backward()
    expected = [0.0] * 4
    for i in range(4):
        for j in range(4):
            if levels[i] > levels[j]:
                slope = 1 / (1 + math.exp(-(values[i] - values[j]))) - 1
                expected[i] += slope
                expected[j] -= slope
    assert rewards.grad is not None
    assert rewards.grad.tolist()[0] == pytest.approx(expected)


@FORMS
def test_pair_loss_sums_pass_gradcheck(pair_loss) -> None:
    rewards, labels, mask = random_items(4)
    rewards.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r: pair_loss_sums(r, labels, mask=mask, pair_loss=pair_loss), (rewards,)
    )


def test_bradley_terry_stays_finite_at_far_margins_in_float32() -> None:
    rewards = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0]])
    loss = ranking_loss(rewards, labels, mask=everything(labels))
    loss.backward()
    assert loss.item() == 2e4
    assert rewards.grad is not None and rewards.grad.tolist() == [[-1.0, 1.0]]


def test_losses_refuse_wrong_shapes() -> None:
    with pytest.raises(Exception, match=r"(?i)type-check"):
        ranking_loss(row(1.0, 2.0), row(1.0, 0.0, 0.0), mask=everything(row(1.0, 0.0)))
