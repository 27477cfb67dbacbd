"""The matrix multiplications that a reward needs, and how fast this machine does large ones.

Of a tree (the query once, then every response), in floating point operations, two for a multiplication with
its addition:

    linear layers    2 x their parameters x tokens
    attention        2 x 2 x hidden size x layers x pairs of tokens of which the later sees the earlier
    reward           2 x hidden size x responses

and three times that for a training: the gradient of a product is two products of its size. No vocabulary
projection, no padding, no softmax, no normalisation.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoConfig

from apo.batching import tree_length
from apo.encoding import Item
from benchmarks.jobs import load_items

SIDE = 4096


def linear_parameters(config: Any) -> int:
    """Weights of the linear layers of a Llama without its vocabulary projection."""
    hidden, inner = config.hidden_size, config.intermediate_size
    head = hidden // config.num_attention_heads
    keys = head * config.num_key_value_heads
    return int(config.num_hidden_layers * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner))


def visible_pairs(item: Item) -> int:
    """Pairs (token, token that it sees) of a tree: a response sees the query and itself, causally."""
    query = len(item.prefix)
    own = sum(len(r) * query + len(r) * (len(r) + 1) // 2 for r in item.responses)
    return query * (query + 1) // 2 + own


def flops(config: Any, *, tokens: int, pairs: int, rewards: int) -> int:
    """Operations of one forward pass."""
    attention = 4 * config.hidden_size * config.num_hidden_layers * pairs
    return int(2 * linear_parameters(config) * tokens + attention + 2 * config.hidden_size * rewards)


def forward_flops(config: Any, items: Iterable[Item]) -> int:
    """Operations that the rewards of these items need, without gradients."""
    return sum(
        flops(config, tokens=tree_length(item), pairs=visible_pairs(item), rewards=len(item.responses))
        for item in items
    )


def needed(folder: Path, job: str, rows: int) -> int:
    """Operations of a training or a scoring of the benchmark."""
    config = AutoConfig.from_pretrained(folder / "backbone")
    forward = forward_flops(config, load_items(folder, job, rows))
    return 3 * forward if job.startswith("train") else forward


def matmul(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """To be run: operations a second in `rows` products of two square float32 matrices, the median."""
    left, right = torch.randn(2, SIDE, SIDE).unbind()
    out = left @ right

    def run() -> float:
        seconds = []
        for _ in range(max(1, rows)):
            began = time.perf_counter()
            torch.mm(left, right, out=out)
            seconds.append(time.perf_counter() - began)
        return 2 * SIDE**3 / median(seconds)

    return run
