"""A careful loop without a tree: separate texts, sorted by length, padded to the longest, no projection.

A micro-batch holds whole items of like length up to a budget of padded tokens. The golden answer is read
once beside its samples, not once for each of them; the query is still read once for every response.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apo.model.encoding import ResponseSet
from benchmarks.data import texts_of
from benchmarks.jobs import Training, adamw, load_items, load_reward_model, padded, update

TOGETHER = 2048  # tokens of a micro-batch, padding included: the fastest of 1024, 2048, .. 16384 on two cores


def by_length(lengths: Sequence[int], together: int = TOGETHER) -> Iterator[list[int]]:
    """Indices from the longest to the shortest, in groups of so many tokens when padded."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        count = max(1, together // lengths[order[0]])
        yield order[:count]
        order = order[count:]


def rewards(classifier: Any, texts: Sequence[list[int]]) -> Tensor:
    """The rewards of texts that are padded to the longest of them."""
    batch = padded(texts, length=max(map(len, texts)), pad_id=classifier.config.pad_token_id)
    found: Tensor = classifier(**batch, use_cache=False).logits.squeeze(-1)
    return found


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A training to be run; it gives the mean loss of its steps."""
    training = Training(load_items(folder, job, rows), job == "train_apo")
    classifier = load_reward_model(folder).classifier.train()
    steps, settings = training.steps(), training.settings
    optimizer = adamw(classifier, settings)

    def run() -> float:
        total = 0.0
        for items in steps:
            pairs = sum(len(item.responses) - 1 for item in items)
            lengths = [item.longest * len(item.responses) for item in items]
            for indices in by_length(lengths):
                group = [items[i] for i in indices]
                found = rewards(classifier, [text for item in group for text in texts_of(item)])
                found = found.view(len(group), -1)
                loss = -training.weight * logsigmoid(found[:, :1] - found[:, 1:]).sum() / pairs
                loss.backward()
                total += loss.item()
            update(classifier, optimizer, settings)
        return total / len(steps)

    return run


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A scoring to be run; it gives the rewards in order."""
    classifier, items = load_reward_model(folder).classifier.eval(), load_items(folder, job, rows)

    def run() -> list[float]:
        return rewards_of(classifier, items)

    return run


@torch.inference_mode()
def rewards_of(classifier: Any, items: Sequence[ResponseSet]) -> list[float]:
    """The reward of every text, all texts sorted by length."""
    texts = [text for item in items for text in texts_of(item)]
    found = [0.0] * len(texts)
    for indices in by_length([len(text) for text in texts]):
        for i, reward in zip(indices, rewards(classifier, [texts[i] for i in indices]).tolist(), strict=True):
            found[i] = reward
    return found
