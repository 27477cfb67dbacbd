"""A linear model, its data and its training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from apo.training.checkpointing import Checkpoints
from apo.training.trainer import training_loop


def line(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(3, 1).double()


def data(count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.3


def squares(model: nn.Module) -> Callable[..., dict[str, Tensor]]:
    """Mean squared error of the rows of a step."""
    x, y = data()

    def loss_of(step: list[int], items: list[int]) -> dict[str, Tensor]:
        return {"loss": (model(x[items]) - y[items]).square().sum() / len(step)}

    return loss_of


def run(
    model: nn.Module, settings: Any, loss_of: Any, checkpoints: Checkpoints, **more: Any
) -> list[dict[str, float]]:
    """Three steps of 8 rows."""
    batches = [list(range(start, start + 8)) for start in (0, 8, 16)]
    return training_loop(
        model,
        settings,
        batches=batches,
        lengths=[1] * 24,
        loss_of=loss_of,
        desc="test",
        checkpoints=checkpoints,
        **more,
    )
