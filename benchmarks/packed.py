"""Pairs packed as `[context | chosen | rejected]`, like prefix sharing for DPO (arXiv 2410.20305).

It is written from the description in the paper, to measure its cost; turbo-alignment collates pairs like this
since 2025-11. A sequence has one pair: the context once, then both responses. The positions of each response
continue those of the context, and neither response attends to the other. Golden > 4 samples are four pairs,
each with context and golden answer. The model of transformers is used with a mask; every layer computes every
token. As in the plain loop, the pairs of a step are sorted by length and padded to the longest of a
micro-batch, which has a token budget.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apo.model.encoding import ResponseSet
from benchmarks.jobs import Training, load_items, load_reward_model, training_run
from benchmarks.plain import by_length

TOGETHER = 1024  # tokens of a micro-batch, padding included: the fastest of 512, 1024, .. 8192 on two cores

Pair = tuple[list[int], list[int], list[int]]  # context, chosen, rejected


def pairs_of(item: ResponseSet) -> list[Pair]:
    """Pairs of the first response with each of the others."""
    first, *worse = item.responses
    return [(item.prefix, first, response) for response in worse]


def packed(pairs: Sequence[Pair], *, pad_id: int) -> tuple[dict[str, Any], Tensor]:
    """The inputs of the model, and the positions [pair, 2] of the last tokens of both responses."""
    length = max(sum(map(len, pair)) for pair in pairs)
    ids = torch.full((len(pairs), length), pad_id, dtype=torch.long)
    for row, parts in zip(ids, pairs, strict=True):
        joined = [token for part in parts for token in part]
        row[: len(joined)] = torch.tensor(joined)
    ends = torch.tensor([[len(part) for part in pair] for pair in pairs]).cumsum(1)[..., None]
    context, chosen = ends[:, 0], ends[:, 1]
    places = torch.arange(length)[None]
    behind = places >= chosen  # rejected, and the padding behind it
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    hidden = behind[:, :, None] & ((places >= context) & ~behind)[:, None, :]
    batch = {
        "input_ids": ids,
        "position_ids": places - behind * (chosen - context),
        "attention_mask": (mask & ~hidden)[:, None],
    }
    return batch, ends[:, 1:, 0] - 1


def rewards(classifier: Any, pairs: Sequence[Pair]) -> Tensor:
    """The rewards [pair, 2] of both responses."""
    batch, last = packed(pairs, pad_id=classifier.config.pad_token_id)
    hidden = classifier.base_model(**batch, use_cache=False).last_hidden_state
    values: Tensor = classifier.score(hidden[torch.arange(len(pairs))[:, None], last]).squeeze(-1)
    return values


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    training = Training(load_items(folder, job, rows), job == "train_apo")
    classifier = load_reward_model(folder).classifier.train()

    def losses_of(items: Sequence[ResponseSet]) -> Iterator[Tensor]:
        pairs = [pair for item in items for pair in pairs_of(item)]
        for indices in by_length([sum(map(len, pair)) for pair in pairs], TOGETHER):
            values = rewards(classifier, [pairs[i] for i in indices])
            yield -training.weight * logsigmoid(values[:, 0] - values[:, 1]).sum() / len(pairs)

    return training_run(classifier, training, losses_of)
