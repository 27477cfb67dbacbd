"""The computation of the authors' code (Linear95/APO at 4282775), reimplemented to measure its cost.

A comparison is two separate texts, each with its query and an end token, padded on the right: to
`max_length`, or, in a batch of one comparison, to the longer one. The model is a causal language model whose
vocabulary projection is computed for every token and not used; the reward is a linear map of the last token
before the end token. Golden > 4 samples are four comparisons, each with the golden answer. The loss is a mean
of micro-batch means, and gradients are accumulated to the global batch. The cost of their trainer, data
loading and data-parallel wrapper is not included, so this is a lower bound.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.encoding import ResponseSet
from benchmarks.data import MAX_LENGTH, texts_of
from benchmarks.jobs import Training, load_items, load_reward_model, padded, pair, training_run

SCORING_BATCH = 16  # texts


class AuthorsRewardModel(nn.Module):
    """A causal language model and a reward head beside its vocabulary projection."""

    def __init__(self, language_model: Any, head: nn.Module, *, pad_id: int, end_id: int) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head
        self.pad_id, self.end_id = pad_id, end_id

    def forward(self, texts: Sequence[list[int]], *, alone: bool) -> Tensor:
        """The reward of each text.

        Args:
            alone: Whether the texts are one comparison, which is padded to its longer text.
        """
        rows = [[*text[-(MAX_LENGTH - 1) :], self.end_id] for text in texts]
        length = max(map(len, rows)) if alone else MAX_LENGTH
        batch = padded(rows, length=length, pad_id=self.pad_id)
        hidden = self.language_model.model(**batch, use_cache=False).last_hidden_state
        self.language_model.lm_head(hidden)  # computed and not used, as in their code
        last = batch["attention_mask"].sum(-1) - 2
        rewards: Tensor = self.head(hidden[torch.arange(len(rows)), last]).squeeze(-1)
        return rewards


def load(folder: Path) -> AuthorsRewardModel:
    """The weights that all implementations start from, in the authors' model."""
    tokenizer = load_tokenizer(folder / "backbone")
    return AuthorsRewardModel(
        load_language_model(folder / "backbone"),
        load_reward_model(folder).classifier.score,
        pad_id=tokenizer.pad_token_id,
        end_id=tokenizer.eos_token_id,
    )


def train(folder: Path, job: str, rows: int, *, micro_batch: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    model, training = load(folder).train(), Training(load_items(folder, job, rows), job == "train_apo")

    def losses_of(items: Sequence[ResponseSet]) -> Iterator[Tensor]:
        comparisons = [comparison for item in items for comparison in pair(item)]
        batches = [comparisons[i : i + micro_batch] for i in range(0, len(comparisons), micro_batch)]
        for batch in batches:
            texts = [text for comparison in batch for text in comparison]
            rewards = model(texts, alone=len(batch) == 1).view(-1, 2)
            yield -training.weight * logsigmoid(rewards[:, 0] - rewards[:, 1]).mean() / len(batches)

    return training_run(model, training, losses_of)


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A function that scores and returns the rewards in order."""
    model, items = load(folder).eval(), load_items(folder, job, rows)
    return lambda: rewards_of(model, items)


@torch.no_grad()
def rewards_of(model: AuthorsRewardModel, items: Sequence[ResponseSet]) -> list[float]:
    """The reward of every text, `SCORING_BATCH` at a time in the order of the file."""
    texts = [text for item in items for text in texts_of(item)]
    rewards: list[float] = []
    for start in range(0, len(texts), SCORING_BATCH):
        rewards += model(texts[start : start + SCORING_BATCH], alone=False).tolist()
    return rewards
