"""A small reward model with adapters."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apo.model.reward_model import RewardModel
from apo.reward.train import train_reward_model
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters
from apo.training.ranked_responses import RankedResponses
from apo.training.settings import Lora
from tests.helpers import tiny_models as tiny

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ITEMS = tiny.random_items(5, [2, 4, 3, 2, 5, 2, 3, 4])
DATA = [RankedResponses(item, [float(-i) for i in range(len(item.responses))]) for item in ITEMS]


def lora(rank: int = 3, alpha: float = 12.0, targets: tuple[str, ...] = ()) -> Lora:
    return Lora(rank=rank, alpha=alpha, targets=list(targets))


def adapted(folder: Path, chosen: Lora, seed: int = 1, **changes: Any) -> tuple[RewardModel, Any]:
    """A reward model with adapters, and what merges them."""
    model = tiny.reward_model(folder, **changes)
    return model, add_adapters(model.classifier, chosen, seed=seed, where="rm.lora")


def train(
    model: RewardModel, key: str = "once", *, steps: int = 3, eval_fn: Any = None
) -> list[dict[str, float]]:
    settings = tiny.optimizer(epochs=steps, lr=3e-2)
    with Checkpoints("rm", key).lock() as checkpoints:
        return train_reward_model(
            model,
            DATA,
            settings,
            seed=1,
            desc="rm",
            checkpoints=checkpoints,
            eval_fn=eval_fn,
            eval_steps=1,
        )


def trained(folder: Path, chosen: Lora, **changes: Any) -> tuple[RewardModel, Any]:
    model, tuner = adapted(folder, chosen, **changes)
    train(model, str(changes))
    return model, tuner


def rewards(model: RewardModel) -> Tensor:
    return torch.tensor([value for row in rewards_of(model, ITEMS, desc="") for value in row])


def gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


def base_weights(model: Any) -> dict[str, Tensor]:
    """All weights that the backbone has too, under its names."""
    return {
        name.replace(".base_layer", "").replace(".original_module", ""): tensor.clone()
        for name, tensor in model.state_dict().items()
        if "lora_" not in name and "modules_to_save" not in name
    }
