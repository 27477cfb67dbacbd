"""The four jobs, and what all ways of doing them share: items, optimizer steps, settings, weights."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apo.model.batching import packed_length
from apo.model.checkpoint import start_reward_model
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.training.settings import Optimizer
from apo.training.trainer import length_bucketed_batches
from benchmarks.data import READING, read_items

SEED = 7
COMPARISONS = 64  # in an optimizer step; golden + 4 samples are four of them
CHECKED = 4  # items on which all ways are compared before anything is timed


@dataclass(frozen=True)
class Training:
    """What is learned from.

    Attributes:
        items: Chosen and rejected, or golden and samples: the first response is better than each other one.
        is_apo: Whether they are golden > samples.
    """

    items: list[ResponseSet]
    is_apo: bool

    @property
    def weight(self) -> float:
        """Of a pair, as in the paper: 1, or 0.1 / 4 for golden > sample."""
        return 0.025 if self.is_apo else 1.0

    @property
    def settings(self) -> Optimizer:
        """One pass in steps of `COMPARISONS` comparisons, at a rate that hardly moves the random model."""
        pairs = len(self.items[0].responses) - 1
        return Optimizer(
            optimizer="adamw",
            dtype="float32",
            lr=1.0e-6,
            beta2=0.999,
            epochs=1,
            batch_size=COMPARISONS // pairs,
            warmup_steps=0,
            schedule="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
        )

    def steps(self) -> list[list[ResponseSet]]:
        """The items of every optimizer step: this project's steps, in random order inside a step."""
        draw = random.Random(SEED)
        batches = length_bucketed_batches(
            [packed_length(item) for item in self.items], self.settings, seed=SEED
        )
        return [[self.items[i] for i in draw.sample(batch, len(batch))] for batch in batches]


def checked(items: Sequence[ResponseSet]) -> list[ResponseSet]:
    """The first items that no way of reading cuts."""
    return [item for item in items if item.longest < READING["max_length"]][:CHECKED]


def load_items(folder: Path, job: str, rows: int) -> list[ResponseSet]:
    """The first `rows` items of a job, all that are compared for 0."""
    items = read_items(folder / f"{job}.jsonl")
    return items[:rows] if rows else checked(items)


def load_reward_model(folder: Path) -> RewardModel:
    """The reward model that every way starts from."""
    return start_reward_model(folder / "backbone", Model(**READING), seed=SEED)


def pair(item: ResponseSet) -> list[tuple[list[int], list[int]]]:
    """Separate comparisons of whole texts: the first response against each other one, repeated for each."""
    first, *others = item.responses
    return [(item.prefix + first, item.prefix + other) for other in others]


def adamw(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of all ways."""
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


def padded(rows: Sequence[Sequence[int]], *, length: int, pad_id: int) -> dict[str, Any]:
    """Texts padded on the right, with the mask that a model of transformers takes."""
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
