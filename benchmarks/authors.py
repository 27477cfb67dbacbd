"""What the authors' code computes (Linear95/APO at 4282775), written anew: a description of its cost.

A comparison is two separate texts, each with its query and an end token, padded on the right: to
`max_length`, or, in a batch of one comparison, to the longer one. The model is a causal language model whose
vocabulary projection is computed at every token and read by nobody; the reward is a linear map of the last
token before the end token. Golden > 4 samples are four comparisons, the golden answer in each. The loss is a
mean of micro-batch means, gradients are accumulated to the global batch. What their trainer, their data
loading and their data-parallel wrapper cost is left out, so this is a lower bound.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.encoding import ResponseSet
from benchmarks.data import MAX_LENGTH, texts_of
from benchmarks.jobs import Training, adamw, load_items, load_reward_model, padded, pair, update

SCORED_TOGETHER = 16  # texts


class AuthorsRewardModel(nn.Module):
    """A causal language model and a reward head beside its vocabulary projection."""

    def __init__(self, language_model: Any, head: nn.Module, *, pad_id: int, end_id: int) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head
        self.pad_id, self.end_id = pad_id, end_id

    def forward(self, texts: Sequence[list[int]], *, alone: bool) -> Tensor:
        """The reward of each text.

        Args:
            alone: A batch of one item pads to its own longest text.
        """
        rows = [[*text[-(MAX_LENGTH - 1) :], self.end_id] for text in texts]
        length = max(map(len, rows)) if alone else MAX_LENGTH
        batch = padded(rows, length=length, pad_id=self.pad_id)
        hidden = self.language_model.model(**batch, use_cache=False).last_hidden_state
        self.language_model.lm_head(hidden)  # computed, as they do, and thrown away
        last = batch["attention_mask"].sum(-1) - 2
        rewards: Tensor = self.head(hidden[torch.arange(len(rows)), last]).squeeze(-1)
        return rewards


def load(folder: Path) -> AuthorsRewardModel:
    """The weights that every way starts from, in the authors' model."""
    tokenizer = load_tokenizer(folder / "backbone")
    return AuthorsRewardModel(
        load_language_model(folder / "backbone"),
        load_reward_model(folder).classifier.score,
        pad_id=tokenizer.pad_token_id,
        end_id=tokenizer.eos_token_id,
    )


def train(folder: Path, job: str, rows: int, *, micro_batch: int) -> Callable[[], float]:
    """A training to be run; it gives the mean loss of its steps."""
    model, training = load(folder).train(), Training(load_items(folder, job, rows), job == "train_apo")
    steps, settings = training.steps(), training.settings
    optimizer = adamw(model, settings)

    def run() -> float:
        total = 0.0
        for items in steps:
            comparisons = [two for item in items for two in pair(item)]
            groups = [comparisons[i : i + micro_batch] for i in range(0, len(comparisons), micro_batch)]
            for group in groups:
                texts = [text for two in group for text in two]
                rewards = model(texts, alone=len(group) == 1).view(-1, 2)
                loss = -training.weight * logsigmoid(rewards[:, 0] - rewards[:, 1]).mean() / len(groups)
                loss.backward()
                total += loss.item()
            update(model, optimizer, settings)
        return total / len(steps)

    return run


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A scoring to be run; it gives the rewards in order."""
    model, items = load(folder).eval(), load_items(folder, job, rows)

    def run() -> list[float]:
        return rewards_of(model, items)

    return run


@torch.no_grad()
def rewards_of(model: AuthorsRewardModel, items: Sequence[ResponseSet]) -> list[float]:
    """The reward of every text, `SCORED_TOGETHER` at a time in the order of the file."""
    texts = [text for item in items for text in texts_of(item)]
    found: list[float] = []
    for start in range(0, len(texts), SCORED_TOGETHER):
        found += model(texts[start : start + SCORED_TOGETHER], alone=False).tolist()
    return found
