"""The items, optimizer steps, settings and weights that all implementations of a job share."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apo.model.batching import packed_length
from apo.model.checkpoint import start_reward_model
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.training.settings import Optimizer
from apo.training.trainer import length_bucketed_batches
from benchmarks.data import READING, read_items

SEED = 7
COMPARISONS = 64  # per optimizer step; golden + 4 samples are four comparisons
CHECKED = 4  # items on which all implementations are compared before anything is timed
OPTIMIZER: dict[str, Any] = {  # one epoch, with a learning rate close to 0
    "optimizer": "adamw",
    "dtype": "float32",
    "lr": 1.0e-6,
    "beta2": 0.999,
    "epochs": 1,
    "warmup_steps": 0,
    "schedule": "constant",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}


@dataclass(frozen=True)
class Training:
    """The training data of a job.

    Attributes:
        items: Chosen and rejected, or golden and samples: the first response is better than all others.
        is_apo: Whether they are golden > samples.
    """

    items: list[ResponseSet]
    is_apo: bool

    @property
    def weight(self) -> float:
        """The weight of a pair, as in the paper: 1, or 0.1 / 4 for golden > sample."""
        return 0.025 if self.is_apo else 1.0

    @property
    def settings(self) -> Optimizer:
        """`OPTIMIZER` in steps of `COMPARISONS` comparisons."""
        pairs = len(self.items[0].responses) - 1
        return Optimizer(**OPTIMIZER, batch_size=COMPARISONS // pairs)

    def steps(self) -> list[list[ResponseSet]]:
        """The items of every optimizer step: the steps of this project, in random order within a step."""
        rng = random.Random(SEED)
        batches = length_bucketed_batches(
            [packed_length(item) for item in self.items], self.settings, seed=SEED
        )
        return [[self.items[i] for i in rng.sample(batch, len(batch))] for batch in batches]


def load_items(folder: Path, job: str, rows: int) -> list[ResponseSet]:
    """The first `rows` items of a job; for 0, the first `CHECKED` that no implementation truncates."""
    items = read_items(folder / f"{job}.jsonl")
    if rows:
        return items[:rows]
    return [item for item in items if item.longest < READING["max_length"]][:CHECKED]


def load_reward_model(folder: Path) -> RewardModel:
    """The reward model that all implementations start from."""
    return start_reward_model(folder / "backbone", Model(**READING), seed=SEED)


def pair(item: ResponseSet) -> list[tuple[list[int], list[int]]]:
    """Separate comparisons of query and response: the first response with each of the others."""
    first, *worse = item.responses
    return [(item.prefix + first, item.prefix + response) for response in worse]


def adamw(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of all implementations."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def update(model: nn.Module, optimizer: torch.optim.Optimizer, settings: Optimizer) -> None:
    """The end of an optimizer step."""
    nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def training_run(
    model: nn.Module, training: Training, losses_of: Callable[[list[ResponseSet]], Iterable[Tensor]]
) -> Callable[[], float]:
    """A function that trains a model and returns the mean loss of its steps.

    Args:
        model: Trained in place.
        training: The steps and settings.
        losses_of: The losses of the micro-batches of a step; they add up to the loss of the step.
    """
    steps, settings = training.steps(), training.settings
    optimizer = adamw(model, settings)

    def run() -> float:
        total = 0.0
        for items in steps:
            for loss in losses_of(items):
                loss.backward()
                total += loss.item()
            update(model, optimizer, settings)
        return total / len(steps)

    return run


def padded(rows: Sequence[Sequence[int]], *, length: int, pad_id: int) -> dict[str, Any]:
    """Input ids and attention mask of texts, padded on the right."""
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
