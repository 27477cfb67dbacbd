"""This project, through the functions that its stages call."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apo.model import runtime
from apo.reward.train import RankedResponses, train_reward_model
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from benchmarks.jobs import SEED, Training, load_items, load_reward_model


class NoCheckpoints(Checkpoints):
    """Saves nothing: neither do the others."""

    def __init__(self) -> None:
        self.folder = Path(os.devnull)

    def restore(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
        """Nothing to go on from."""
        return []

    def due(self, *, last: bool) -> bool:
        """Nothing is saved."""
        return False


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A training to be run; it gives the mean loss of its steps."""
    runtime.set_up()
    training = Training(load_items(folder, job, rows), job == "train_apo")
    model = load_reward_model(folder)
    data = [
        RankedResponses(item, [1.0] + [0.0] * (len(item.responses) - 1), is_adversarial=training.is_apo)
        for item in training.items
    ]

    def run() -> float:
        curve = train_reward_model(
            model,
            data,
            training.settings,
            coeff=training.weight,
            seed=SEED,
            desc="",
            checkpoints=NoCheckpoints(),
        )
        return sum(row["loss"] for row in curve) / len(curve)

    return run


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A scoring to be run; it gives the rewards in order."""
    runtime.set_up()
    model, items = load_reward_model(folder).eval(), load_items(folder, job, rows)

    def run() -> list[float]:
        return [r for found in rewards_of(model, items, desc="") for r in found]

    return run
