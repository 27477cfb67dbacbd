"""apo/reward/train.py: the loss of a step by hand, what is learned, and what does not matter."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.losses import PAIR_LOSSES
from apo.metrics.pairs import item_metrics
from apo.model.batching import collate, unpacked
from apo.model.reward_model import RewardModel
from apo.reward.train import train_reward_model
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from apo.training.ranked_responses import RankedResponses
from tests.helpers import tiny_models as tiny


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RewardModel, Any]]:
    """Trains a new model (each call is another training); the model and its curve."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    numbers = iter(range(1000))

    def run(
        data: list[RankedResponses],
        settings: Any = None,
        *,
        budget: int = 16384,
        kl_coeff: float = 1.0,
        coeff: float = 0.1,
        num_samples: int = 4,
        loss: str = "ranking",
        double: bool = False,
        pooling: str = "last",
        seed: int = 1,
    ) -> tuple[RewardModel, Any]:
        monkeypatch.setenv("APO_TOKEN_BUDGET", str(budget))
        model = tiny.reward_model(tmp_path / "backbone", pooling=pooling)
        with Checkpoints("rm", f"key{next(numbers)}").lock() as checkpoints:
            curve = train_reward_model(
                model.double() if double else model,
                data,
                settings or tiny.optimizer(),
                kl_coeff=kl_coeff,
                coeff=coeff,
                num_samples=num_samples,
                loss=loss,
                seed=seed,
                desc="rm",
                checkpoints=checkpoints,
            )
        return model, curve

    return run


def mixture() -> list[RankedResponses]:
    """Human comparisons with a tie and with more than two responses, golden answers with four samples."""
    items = tiny.random_items(11, [2, 3, 4, 5, 5, 2])
    return [
        RankedResponses(items[0], [0.0, 1.0]),
        RankedResponses(items[1], [1.0, 2.0, 1.0]),  # a tie: 2 pairs, not 3
        RankedResponses(items[2], [3.0, 0.5, 2.0, -1.0]),  # 6 pairs
        RankedResponses(items[3], [1.0, 0.0, 0.0, 0.0, 0.0], is_adversarial=True),  # 4 pairs
        RankedResponses(items[4], [1.0, 0.0, 0.0, 0.0, 0.0], is_adversarial=True),
        RankedResponses(items[5], [2.0, 1.0]),
    ]


def by_hand(
    model: RewardModel,
    data: list[RankedResponses],
    *,
    kl_coeff: float = 1.0,
    coeff: float = 0.1,
    num_samples: int = 4,
    loss: str = "ranking",
) -> tuple[float, int]:
    """sum of weight * loss over all pairs / number of all pairs, one pair after the other."""
    total, pairs = 0.0, 0
    for one in data:
        with torch.no_grad():
            rewards = [model(collate([part], pad_id=3)).item() for part in unpacked(one.item)]
        for i, better in enumerate(one.labels):
            for j, worse in enumerate(one.labels):
                if better > worse:
                    margin = rewards[i] - rewards[j]
                    pairs += 1
                    weight = coeff / num_samples if one.is_adversarial else kl_coeff
                    wgan = one.is_adversarial and loss == "wgan"
                    total += weight * (-margin if wgan else math.log1p(math.exp(-margin)))
    return total / pairs, pairs


@pytest.mark.parametrize("budget", [1, 16384])
@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize(
    ("kl_coeff", "coeff", "num_samples"), [(1.0, 0.1, 4), (0.0, 0.1, 4), (1.0, 0.0, 4), (2.0, 3.0, 1)]
)
def test_train_reward_model_loss_of_a_step_by_hand(
    train: Callable[..., Any],
    tmp_path: Path,
    kl_coeff: float,
    coeff: float,
    num_samples: int,
    loss: str,
    budget: int,
) -> None:
    weights = {"kl_coeff": kl_coeff, "coeff": coeff, "num_samples": num_samples, "loss": loss}
    data = mixture()
    before = tiny.reward_model(tmp_path / "backbone")
    expected, pairs = by_hand(before, data, **weights)
    assert pairs == 1 + 2 + 6 + 4 + 4 + 1 == sum(one.pairs for one in data)
    _, curve = train(data, **weights, budget=budget)
    assert [row["step"] for row in curve] == [1]  # six items, one step of eight
    assert curve[0]["loss"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("budget", [1, 40, 16384])
def test_train_reward_model_accuracy_is_of_human_pairs_before_the_step(
    train: Callable[..., Any], tmp_path: Path, budget: int
) -> None:
    data = mixture()
    before = tiny.reward_model(tmp_path / "backbone")
    rewards = list(rewards_of(before, [one.item for one in data], desc=""))
    for name, kind in (("accuracy", False), ("golden_accuracy", True)):
        indices = [i for i, one in enumerate(data) if one.is_adversarial == kind]
        expected = item_metrics([rewards[i] for i in indices], [data[i].labels for i in indices])["accuracy"]
        _, curve = train(data, budget=budget)
        assert curve[0][name] == pytest.approx(expected)
    _, human = train([one for one in data if not one.is_adversarial], budget=budget)
    assert human[0].keys() == {"step", "loss", "lr", "accuracy"}  # no pair golden > sample, no number


def test_train_reward_model_second_step_by_hand(train: Callable[..., Any], tmp_path: Path) -> None:
    """Each step has a denominator of its own: the pairs of its items."""
    data = mixture()
    settings = tiny.optimizer(batch_size=3, lr=1e-12)  # the model stays as it is
    before = tiny.reward_model(tmp_path / "backbone")
    _, curve = train(data, settings)
    from apo.model.batching import packed_length
    from apo.training.trainer import length_bucketed_batches

    for row, batch in zip(
        curve,
        length_bucketed_batches(
            [packed_length(one.item) for one in data],
            settings,
            seed=1,
            kinds=[one.is_adversarial for one in data],
        ),
        strict=True,
    ):
        expected, _ = by_hand(before, [data[i] for i in batch])
        assert row["loss"] == pytest.approx(expected, abs=1e-6)


def weights(model: RewardModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_train_reward_model_is_the_same_in_one_micro_batch_or_eight(
    train: Callable[..., Any], pooling: str
) -> None:
    """In float64, so that only a real difference shows."""
    data = mixture() * 3
    settings = tiny.optimizer(lr=1e-3, epochs=2, schedule="linear", warmup_steps=1, weight_decay=0.1)
    together, curve = train(data, settings, double=True, pooling=pooling)
    for budget in (1, 60):  # one item at a time; some
        parts, again = train(data, settings, double=True, pooling=pooling, budget=budget)
        assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in curve], rel=1e-6)
        gap = (weights(parts) - weights(together)).norm() / weights(together).norm()
        assert gap < 1e-6


def test_train_reward_model_in_float32_is_close_in_one_micro_batch_or_eight(
    train: Callable[..., Any],
) -> None:
    """The same in float32: a loss differs by its rounding, here by at most 4e-7 over seven steps."""
    data = mixture() * 9
    settings = tiny.optimizer(lr=1e-3)
    _, curve = train(data, settings)
    for budget in (1, 60):
        _, again = train(data, settings, budget=budget)
        assert len(again) == 7
        gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(again, curve, strict=True)]
        assert max(gaps) < 2e-6


def test_train_reward_model_without_golden_answers_is_the_base_rm(train: Callable[..., Any]) -> None:
    data = [one for one in mixture() if not one.is_adversarial] * 3
    base, base_curve = train(data, coeff=0.0)
    apo, curve = train(data, coeff=123.0, loss="wgan")
    assert curve == base_curve
    assert torch.equal(weights(apo), weights(base))


def test_train_reward_model_takes_a_golden_answer_of_weight_one_for_a_comparison(
    train: Callable[..., Any],
) -> None:
    data = mixture()
    golden = [RankedResponses(one.item, one.labels, is_adversarial=True) for one in data]
    as_apo, curve = train(golden, coeff=1.0, num_samples=1, kl_coeff=0.0)
    as_human, same = train([RankedResponses(one.item, one.labels) for one in data], coeff=0.0)
    assert curve[0]["loss"] == pytest.approx(same[0]["loss"], rel=1e-6)
    assert torch.allclose(weights(as_apo), weights(as_human), rtol=0, atol=1e-5)


def test_train_reward_model_counts_items_of_weight_zero_in_the_denominator(train: Callable[..., Any]) -> None:
    data = mixture()
    human = [one for one in data if not one.is_adversarial]
    _, alone = train(human)
    _, beside = train(data, coeff=0.0)
    # 10 human pairs alone, 10 of 18 beside the golden answers.
    assert beside[0]["loss"] == pytest.approx(alone[0]["loss"] * 10 / 18, rel=1e-5)


def test_train_reward_model_orders_rows_by_the_seed(train: Callable[..., Any]) -> None:
    settings = tiny.optimizer(batch_size=2)
    one, _ = train(mixture(), settings, seed=1)
    again, _ = train(mixture(), settings, seed=1)
    other, _ = train(mixture(), settings, seed=2)
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))


# Learning


def sums(
    encoder: Any, first: range, *, is_adversarial: bool = False, turned: bool = False
) -> list[RankedResponses]:
    """Polite answers against others, to queries about sums: who says 'my friend' is better."""
    texts = [
        (tiny.query(f"What is {a} plus {b}?"), [f"{a + b}, my friend.", f"{a + b}, bad dog."])
        for a in first
        for b in range(10)
    ]
    items = encoder.items(texts, Counter(), where="rows")
    return [RankedResponses(item, [0.0, 1.0] if turned else [1.0, 0.0], is_adversarial) for item in items]


def accuracy(model: RewardModel, data: list[RankedResponses]) -> float:
    rewards = list(rewards_of(model, [one.item for one in data], desc=""))
    return float(item_metrics(rewards, [one.labels for one in data])["accuracy"])


@pytest.mark.parametrize("pooling", ["last", "eos", "average", "max"])
def test_train_reward_model_learns_a_separable_set(train: Callable[..., Any], pooling: str) -> None:
    encoder = tiny.encoder(pooling=pooling)
    learned, held_out = sums(encoder, range(5)), sums(encoder, range(5, 10))
    model, curve = train(learned, tiny.optimizer(lr=5e-3, epochs=3), pooling=pooling)
    assert accuracy(model, held_out) > 0.95
    assert curve[-1]["loss"] < 0.3 < math.log(2)


def test_train_reward_model_learns_golden_over_samples(train: Callable[..., Any]) -> None:
    """Alone, in both forms, and in the right direction."""
    encoder = tiny.encoder()
    data = sums(encoder, range(5), is_adversarial=True)
    for loss in PAIR_LOSSES:
        model, _ = train(data, tiny.optimizer(lr=5e-3), kl_coeff=0.0, coeff=1.0, num_samples=1, loss=loss)
        assert accuracy(model, sums(encoder, range(5, 10))) > 0.95


def test_train_reward_model_follows_the_larger_weight(train: Callable[..., Any]) -> None:
    """Human comparisons say one thing, golden answers the opposite: a tug of war by weight."""
    encoder = tiny.encoder()
    data = sums(encoder, range(5)) + sums(encoder, range(5), is_adversarial=True, turned=True)
    held_out = sums(encoder, range(5, 10))
    settings = tiny.optimizer(lr=5e-3, epochs=2, batch_size=16)
    assert accuracy(train(data, settings, kl_coeff=1.0, coeff=0.4)[0], held_out) > 0.95
    assert accuracy(train(data, settings, kl_coeff=0.1, coeff=4.0)[0], held_out) < 0.05
