"""apo/losses.py: the numbers of the authors' functions, case by case."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.losses import apo_loss_sum, bradley_terry, ordered_pairs, pair_loss_sums, wgan


def everything(labels: Tensor) -> Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


def numbers(values: Any) -> Tensor:
    """Nested lists, in which 'inf' and 'nan' may stand as text, in float64."""
    return torch.tensor([[float(value) for value in line] for line in values], dtype=torch.float64)


# What theirs returns there comes from inf - inf or NaN in a place that is no pair.
NOT_FINITE_IN_NO_PAIR = {"edge_inf", "edge_inf_tied", "edge_nan_in_padded_row"}


def test_pair_loss_sums_agree_with_reward_model_loss(vectors) -> None:
    cases = vectors("reward_model_loss")
    compared = 0
    for case in cases:
        rewards, labels = numbers(case["logits"]).requires_grad_(), numbers(case["scores"])
        mask = labels >= 0
        coeffs = case["coeffs"] or [1.0] * len(labels)
        pair_loss = {"ranking": bradley_terry, "diff": wgan}[case["loss_type"]]
        sums = pair_loss_sums(rewards, labels, mask=mask, pair_loss=pair_loss)
        pairs = ordered_pairs(labels, mask=mask).sum().clamp(min=1)  # theirs gives -0.0 for no pair
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


def test_pair_loss_sums_are_the_limit_where_theirs_is_nan() -> None:
    # Item 1: golden at infinity costs 0 with gradient 0; item 2: -log sigma(-1) = ln(1 + e).
    rewards = torch.tensor([[math.inf, 0.0], [0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    loss = pair_loss_sums(rewards, labels, mask=everything(labels), pair_loss=bradley_terry).sum() / 2
    assert loss.item() == pytest.approx(math.log(1 + math.e) / 2)


def test_apo_loss_sum_agrees_with_total_loss(vectors) -> None:
    cases = vectors("apo_total_loss")
    for case in cases:
        args = case["args"]
        rewards, labels = numbers(case["logits"]).requires_grad_(), numbers(case["scores"])
        mask = labels >= 0
        human_only = args["task_type"] == "hh_split"  # base RM and testing RM: no mask, no coefficient
        is_adversarial = torch.tensor(case["apo_data_mask"]).bool() & (not human_only)
        loss = partial(
            apo_loss_sum,
            rewards,
            labels,
            mask=mask,
            is_adversarial=is_adversarial,
            num_samples=args["apo_sample_num"],
            loss={"ranking": "ranking", "diff": "wgan"}[args["apo_loss_type"]],
        )
        kl_coeff, coeff = 1.0 if human_only else args["rm_kl_coeff"], args["apo_loss_coeff"]
        pairs = ordered_pairs(labels, mask=mask).sum().clamp(min=1)
        total = loss(kl_coeff=kl_coeff, coeff=coeff) / pairs
        total.backward()
        close = {"rel": 2e-6, "abs": 1e-6}  # theirs is computed in float32
        assert total.item() == pytest.approx(case["total_loss"], **close), case
        if not human_only:
            human = loss(kl_coeff=1.0, coeff=0.0) / pairs
            adversarial = loss(kl_coeff=0.0, coeff=float(args["apo_sample_num"])) / pairs
            assert human.item() == pytest.approx(case["rm_kl_loss"], **close), case
            assert adversarial.item() == pytest.approx(case["apo_loss"], **close), case
        torch.testing.assert_close(rewards.grad, numbers(case["grad_logits"]), rtol=1e-5, atol=1e-6)
    assert len(cases) >= 80
