"""The jobs with this project, by the functions that its stages call."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apo.model import runtime
from apo.model.reward_model import RewardModel
from apo.reward.train import train_reward_model
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from apo.training.ranked_responses import RankedResponses
from benchmarks.jobs import SEED, Training, load_items, load_reward_model


class NoCheckpoints(Checkpoints):
    """Checkpoints that save nothing, as in the other implementations."""

    def __init__(self) -> None:
        self.folder = Path(os.devnull)

    def restore(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
        """There is no checkpoint to resume from."""
        return []

    def should_save(self, *, is_last: bool) -> bool:
        """Nothing is saved."""
        return False


def optimizer_steps(model: RewardModel, job: Training, **options: Any) -> list[dict[str, float]]:
    """`train_reward_model` on the items of a job, without checkpoints unless `options` has some."""
    data = [
        RankedResponses(item, [1.0] + [0.0] * (len(item.responses) - 1), is_adversarial=job.is_apo)
        for item in job.items
    ]
    options = {"desc": "", "checkpoints": NoCheckpoints(), **options}
    return train_reward_model(model, data, job.settings, coeff=job.weight, seed=SEED, **options)


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    runtime.set_up()
    training = Training(load_items(folder, job, rows), job == "train_apo")
    model = load_reward_model(folder)

    def run() -> float:
        curve = optimizer_steps(model, training)
        return sum(row["loss"] for row in curve) / len(curve)

    return run


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A function that scores and returns the rewards in order."""
    runtime.set_up()
    model, items = load_reward_model(folder).eval(), load_items(folder, job, rows)
    return lambda: [reward for rewards in rewards_of(model, items, desc="") for reward in rewards]
