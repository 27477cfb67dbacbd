"""apo/losses.py: values by hand, properties, closed-form gradients, the authors' numbers."""

import doctest
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from apo import losses
from apo.losses import (
    apo_loss_sums,
    bradley_terry,
    count_pairs,
    ordered_pairs,
    pair_loss_sums,
    pairs_in_order,
    ranking_loss_sum,
    wgan,
)

FORMS = pytest.mark.parametrize("pair_loss", [bradley_terry, wgan])


def row(*values: float, grad: bool = False) -> Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=grad)


def everything(labels: Tensor) -> Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


def random_items(seed: int, items: int = 5, responses: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, labels with ties, a mask with holes."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(items, responses, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (items, responses), generator=generator).double()
    mask = torch.rand(items, responses, generator=generator) > 0.2
    return rewards, labels, mask


def test_doctests() -> None:
    assert doctest.testmod(losses) == (0, 2)


# Values by hand


def test_a_tie_in_reward_costs_ln_2() -> None:
    labels = row(1.0, 0.0)
    assert ranking_loss_sum(row(3.0, 3.0), labels, mask=everything(labels)).item() == pytest.approx(
        math.log(2)
    )


def test_pairs_in_order_by_hand() -> None:
    """Of the pairs of the first item, (5, 5), (5, 7) and (5, 7), one is a tie and two are the wrong way."""
    labels = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
    rewards = torch.tensor([[5.0, 5.0, 7.0], [7.0, 6.0, 5.0], [0.0, 9.0, 4.0]])
    mask = everything(labels)
    assert pairs_in_order(rewards, labels, mask=mask).tolist() == [0.5, 3.0, 1.0]
    mask[1, 1] = False  # only 3 > 1 is left of the second
    assert pairs_in_order(rewards, labels, mask=mask).tolist() == [0.5, 1.0, 1.0]


def test_the_better_response_ahead_costs_less_than_behind() -> None:
    # sigma(ln 3) = 3/4 and sigma(-ln 3) = 1/4: -ln(3/4) ahead, -ln(1/4) behind.
    labels, ahead = row(1.0, 0.0), row(math.log(3), 0.0)
    assert ranking_loss_sum(ahead, labels, mask=everything(labels)).item() == pytest.approx(math.log(4 / 3))
    assert ranking_loss_sum(-ahead, labels, mask=everything(labels)).item() == pytest.approx(math.log(4))


def test_wgan_is_the_negative_margin() -> None:
    labels = row(0.0, 1.0, 1.0)  # pairs (1, 0) and (2, 0): -(5 - 2) - (-1 - 2) = 0; (1, 2) is a tie
    sums = pair_loss_sums(row(2.0, 5.0, -1.0), labels, mask=everything(labels), pair_loss=wgan)
    assert sums.tolist() == [0.0]
    sums = pair_loss_sums(row(2.0, 5.0, 0.0), labels, mask=everything(labels), pair_loss=wgan)
    assert sums.tolist() == [-1.0]


def test_pairs_are_all_strict_orders_of_real_responses() -> None:
    labels = row(2.0, 1.0, 1.0, 0.0)
    mask = torch.tensor([[True, True, True, False]])
    where = ordered_pairs(labels, mask=mask).nonzero().tolist()
    assert where == [[0, 0, 1], [0, 0, 2]]
    assert count_pairs(labels, mask=mask).item() == 2
    assert count_pairs(labels, mask=everything(labels)).item() == 5  # 3 below the first, 1 + 1 above the last


def test_golden_and_four_samples_are_four_pairs() -> None:
    labels = row(1.0, 0.0, 0.0, 0.0, 0.0)
    assert count_pairs(labels, mask=everything(labels)).item() == 4


def test_apo_weights_by_hand() -> None:
    # A human tie costs ln 2, two pairs golden > sample at margin ln 3 cost ln(4/3) each; 3 pairs in all.
    rewards = torch.tensor([[0.0, 0.0, 9.0], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([[0.0, 1.0, -1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    mask, is_adversarial = labels >= 0, torch.tensor([False, True])
    assert count_pairs(labels, mask=mask).item() == 3
    total, human, adversarial = apo_loss_sums(
        rewards,
        labels,
        mask=mask,
        is_adversarial=is_adversarial,
        kl_coeff=0.5,
        coeff=0.1,
        num_samples=4,
        loss="ranking",
    )
    assert human.item() == pytest.approx(math.log(2))
    assert adversarial.item() == pytest.approx(2 * math.log(4 / 3))
    assert total.item() == pytest.approx(0.5 * math.log(2) + 0.025 * 2 * math.log(4 / 3))


def test_wgan_leaves_the_human_pairs_at_bradley_terry() -> None:
    rewards = torch.tensor([[0.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    sums = apo_loss_sums(
        rewards,
        labels,
        mask=everything(labels),
        is_adversarial=torch.tensor([False, True]),
        kl_coeff=1.0,
        coeff=1.0,
        num_samples=1,
        loss="wgan",
    )
    assert sums.human.item() == pytest.approx(math.log(2))
    assert sums.adversarial.item() == -2.0
    assert sums.total.item() == pytest.approx(math.log(2) - 2.0)


# Properties


@FORMS
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), constant=st.floats(-50, 50))
def test_a_constant_on_all_rewards_of_an_item_changes_nothing(pair_loss, seed, constant) -> None:
    rewards, labels, mask = random_items(seed)
    sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
    shifted = pair_loss_sums(rewards + constant, labels, mask=mask, pair_loss=pair_loss)
    torch.testing.assert_close(sums, shifted)


@FORMS
def test_masked_equals_deleted(pair_loss) -> None:
    rewards, labels, _ = random_items(0)
    mask = everything(labels)
    mask[:, 2] = False
    kept = [0, 1, 3]
    deleted = pair_loss_sums(rewards[:, kept], labels[:, kept], mask=mask[:, kept], pair_loss=pair_loss)
    torch.testing.assert_close(
        pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss), deleted, rtol=0, atol=1e-15
    )


@FORMS
def test_permuting_responses_and_items_permutes(pair_loss) -> None:
    rewards, labels, mask = random_items(1)
    order, items = [2, 0, 3, 1], [4, 1, 0, 3, 2]
    sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
    permuted = pair_loss_sums(
        rewards[items][:, order], labels[items][:, order], mask=mask[items][:, order], pair_loss=pair_loss
    )
    torch.testing.assert_close(sums[items], permuted)


def test_only_the_order_of_scores_counts() -> None:
    rewards, labels, mask = random_items(2)
    assert torch.equal(
        ranking_loss_sum(rewards, labels, mask=mask), ranking_loss_sum(rewards, labels**3 - 7.0, mask=mask)
    )


@FORMS
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
def test_everything_masked_is_zero_with_zero_gradients(pair_loss, poison) -> None:
    rewards = row(poison, poison, 0.0, grad=True)
    labels = row(0.0, 1.0, 2.0)
    loss = pair_loss_sums(rewards, labels, mask=~everything(labels), pair_loss=pair_loss).sum()
    loss.backward()
    assert loss.item() == 0.0
    assert rewards.grad is not None and rewards.grad.tolist() == [[0.0, 0.0, 0.0]]


@FORMS
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan, 1e300])
def test_what_stands_in_a_masked_slot_reaches_nothing(pair_loss, poison) -> None:
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


def test_nan_in_a_real_slot_shows() -> None:
    labels = row(1.0, 0.0)
    assert ranking_loss_sum(row(math.nan, 0.0), labels, mask=everything(labels)).isnan()


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_micro_batches_add_up_to_the_step(cut) -> None:
    rewards, labels, mask = random_items(3)
    is_adversarial = torch.tensor([True, False, True, False, False])

    def sums(part: slice) -> tuple[Tensor, Tensor]:
        total = apo_loss_sums(
            rewards[part],
            labels[part],
            mask=mask[part],
            is_adversarial=is_adversarial[part],
            kl_coeff=1.0,
            coeff=0.1,
            num_samples=4,
            loss="ranking",
        ).total
        return total, count_pairs(labels[part], mask=mask[part])

    (whole, pairs), (first, one), (second, two) = map(sums, [slice(None), slice(cut), slice(cut, None)])
    assert pairs == one + two
    torch.testing.assert_close(whole, first + second, rtol=0, atol=1e-15)


# Gradients


def test_the_gradient_of_bradley_terry_is_sigma_minus_one() -> None:
    labels, rewards = row(0.0, 1.0), row(0.7, -0.4, grad=True)
    ranking_loss_sum(rewards, labels, mask=everything(labels)).backward()
    slope = 1 / (1 + math.exp(1.1)) - 1  # margin r_1 - r_0 = -1.1
    assert rewards.grad is not None
    assert rewards.grad.tolist()[0] == pytest.approx([-slope, slope])


def test_the_gradient_of_an_item_sums_over_its_pairs() -> None:
    values, levels = [0.3, -1.2, 2.0, 0.1], [1.0, 0.0, 0.5, 0.5]
    rewards, labels = row(*values, grad=True), row(*levels)
    ranking_loss_sum(rewards, labels, mask=everything(labels)).backward()
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
def test_gradcheck(pair_loss) -> None:
    rewards, labels, mask = random_items(4)
    rewards.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r: pair_loss_sums(r, labels, mask=mask, pair_loss=pair_loss), (rewards,)
    )


def test_far_margins_stay_finite_in_float32() -> None:
    rewards = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0]])
    loss = ranking_loss_sum(rewards, labels, mask=everything(labels))
    loss.backward()
    assert loss.item() == 2e4
    assert rewards.grad is not None and rewards.grad.tolist() == [[-1.0, 1.0]]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(Exception, match=r"(?i)type-check"):
        ranking_loss_sum(row(1.0, 2.0), row(1.0, 0.0, 0.0), mask=everything(row(1.0, 0.0)))


# The authors' functions


def numbers(values: Any) -> Tensor:
    """Nested lists, in which 'inf' and 'nan' may stand as text, in float64."""
    return torch.tensor([[float(value) for value in line] for line in values], dtype=torch.float64)


# What theirs returns there comes from inf - inf or NaN in a place that is no pair.
NOT_FINITE_IN_NO_PAIR = {"edge_inf", "edge_inf_tied", "edge_nan_in_padded_row"}


def test_reward_model_loss_of_the_authors(vectors) -> None:
    cases = vectors("reward_model_loss")
    compared = 0
    for case in cases:
        rewards, labels = numbers(case["logits"]).requires_grad_(), numbers(case["scores"])
        mask = labels >= 0
        coeffs = case["coeffs"] or [1.0] * len(labels)
        pair_loss = {"ranking": bradley_terry, "diff": wgan}[case["loss_type"]]
        sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
        pairs = count_pairs(labels, mask=mask).clamp(min=1)  # theirs gives -0.0 for no pair
        loss = (torch.tensor(coeffs, dtype=torch.float64) * sums).sum() / pairs
        loss.backward()
        expected, gradient = (
            torch.tensor(float(case["loss"]), dtype=torch.float64),
            numbers(case["grad_logits"]),
        )
        if case["kind"] in NOT_FINITE_IN_NO_PAIR:
            assert expected.isnan() and loss.isfinite(), case["kind"]
            assert rewards.grad is not None and rewards.grad.isfinite().all()
            gradient = gradient.nan_to_num(0.0)
        else:
            torch.testing.assert_close(
                loss, expected, rtol=1e-12, atol=1e-12, equal_nan=True, msg=f"{case}: {loss}"
            )
        torch.testing.assert_close(
            rewards.grad, gradient, rtol=0, atol=1e-11, equal_nan=True, msg=f"{case}: {rewards.grad}"
        )
        compared += 1
    assert compared == len(cases) > 100


def test_where_theirs_is_nan_ours_is_the_limit() -> None:
    # Item 1: golden at infinity costs 0 with gradient 0; item 2: -log sigma(-1) = ln(1 + e).
    rewards = torch.tensor([[math.inf, 0.0], [0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    loss = ranking_loss_sum(rewards, labels, mask=everything(labels)) / 2
    assert loss.item() == pytest.approx(math.log(1 + math.e) / 2)


def test_total_loss_of_the_authors(vectors) -> None:
    cases = vectors("apo_total_loss")
    for case in cases:
        args = case["args"]
        rewards, labels = numbers(case["logits"]).requires_grad_(), numbers(case["scores"])
        mask = labels >= 0
        human_only = args["task_type"] == "hh_split"  # base RM and testing RM: no mask, no coefficient
        is_adversarial = torch.tensor(case["apo_data_mask"]).bool() & (not human_only)
        sums = apo_loss_sums(
            rewards,
            labels,
            mask=mask,
            is_adversarial=is_adversarial,
            kl_coeff=1.0 if human_only else args["rm_kl_coeff"],
            coeff=args["apo_loss_coeff"],
            num_samples=args["apo_sample_num"],
            loss={"ranking": "ranking", "diff": "wgan"}[args["apo_loss_type"]],
        )
        pairs = count_pairs(labels, mask=mask).clamp(min=1)
        total, human, adversarial = (value / pairs for value in sums)
        total.backward()
        close = {"rel": 2e-6, "abs": 1e-6}  # theirs is computed in float32
        assert total.item() == pytest.approx(case["total_loss"], **close), case
        if not human_only:
            assert human.item() == pytest.approx(case["rm_kl_loss"], **close), case
            assert adversarial.item() == pytest.approx(case["apo_loss"], **close), case
        torch.testing.assert_close(rewards.grad, numbers(case["grad_logits"]), rtol=1e-5, atol=1e-6)
    assert len(cases) >= 80
