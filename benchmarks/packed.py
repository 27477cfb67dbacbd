"""Pairs packed as `[context | chosen | rejected]`, as prefix sharing for DPO does (arXiv 2410.20305).

A description of its cost, written from its description; turbo-alignment collates pairs so since 2025-11. A
sequence holds one pair: the context once, then both responses, whose positions restart behind the context and
of which neither sees the other. Golden > 4 samples are four pairs: each reads context and golden answer.
The model is the stock one under a mask; every layer computes every token. It is as careful as the plain loop:
pairs of a step sorted by length, micro-batches by a token budget, padding to the longest pair of one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apo.model.encoding import ResponseSet
from benchmarks.jobs import Training, adamw, load_items, load_reward_model, update
from benchmarks.plain import by_length

TOGETHER = 1024  # tokens of a micro-batch, padding included: the fastest of 512, 1024, .. 8192 on two cores

Pair = tuple[list[int], list[int], list[int]]  # context, chosen, rejected


def pairs_of(item: ResponseSet) -> list[Pair]:
    """The first response against each other one."""
    first, *others = item.responses
    return [(item.prefix, first, other) for other in others]


def packed(pairs: Sequence[Pair], *, pad_id: int) -> tuple[dict[str, Any], Tensor]:
    """What a model of transformers takes, and the places [pair, 2] of the last tokens of both responses."""
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
    found: Tensor = classifier.score(hidden[torch.arange(len(pairs))[:, None], last]).squeeze(-1)
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
            pairs = [pair for item in items for pair in pairs_of(item)]
            for indices in by_length([sum(map(len, pair)) for pair in pairs], TOGETHER):
                found = rewards(classifier, [pairs[i] for i in indices])
                loss = -training.weight * logsigmoid(found[:, 0] - found[:, 1]).sum() / len(pairs)
                loss.backward()
                total += loss.item()
            update(classifier, optimizer, settings)
        return total / len(steps)

    return run
