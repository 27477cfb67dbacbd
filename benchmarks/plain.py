"""A careful plain loop without shared-prefix packing: separate texts, sorted by length and padded.

A micro-batch has whole items of similar length, up to a budget of padded tokens. The golden answer is read
once for all its samples, the query once for every response. There is no vocabulary projection.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apo.model.encoding import ResponseSet
from benchmarks.data import texts_of
from benchmarks.jobs import Training, load_items, load_reward_model, padded, training_run

TOGETHER = 2048  # tokens of a micro-batch, padding included: the fastest of 1024, 2048, .. 16384 on two cores


def by_length(lengths: Sequence[int], budget: int = TOGETHER) -> Iterator[list[int]]:
    """Indices from the longest to the shortest, in micro-batches of at most `budget` padded tokens."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        count = max(1, budget // lengths[order[0]])
        yield order[:count]
        order = order[count:]


def rewards(classifier: Any, texts: Sequence[list[int]]) -> Tensor:
    """The rewards of texts, padded to the longest text."""
    batch = padded(texts, length=max(map(len, texts)), pad_id=classifier.config.pad_token_id)
    values: Tensor = classifier(**batch, use_cache=False).logits.squeeze(-1)
    return values


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    training = Training(load_items(folder, job, rows), job == "train_apo")
    classifier = load_reward_model(folder).classifier.train()

    def losses_of(items: Sequence[ResponseSet]) -> Iterator[Tensor]:
        pairs = sum(len(item.responses) - 1 for item in items)
        lengths = [item.longest * len(item.responses) for item in items]
        for indices in by_length(lengths):
            micro_batch = [items[i] for i in indices]
            texts = [text for item in micro_batch for text in texts_of(item)]
            values = rewards(classifier, texts).view(len(micro_batch), -1)
            yield -training.weight * logsigmoid(values[:, :1] - values[:, 1:]).sum() / pairs

    return training_run(classifier, training, losses_of)


def score(folder: Path, job: str, rows: int) -> Callable[[], list[float]]:
    """A function that scores and returns the rewards in order."""
    classifier, items = load_reward_model(folder).classifier.eval(), load_items(folder, job, rows)
    return lambda: rewards_of(classifier, items)


@torch.inference_mode()
def rewards_of(classifier: Any, items: Sequence[ResponseSet]) -> list[float]:
    """The reward of every text; all texts are sorted by length."""
    texts = [text for item in items for text in texts_of(item)]
    all_rewards = [0.0] * len(texts)
    for indices in by_length([len(text) for text in texts]):
        for i, reward in zip(indices, rewards(classifier, [texts[i] for i in indices]).tolist(), strict=True):
            all_rewards[i] = reward
    return all_rewards
