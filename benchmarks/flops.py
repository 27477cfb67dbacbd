"""The matrix multiplications that a reward needs, and how fast this machine does large ones.

Of a tree (the query once, then every response), in floating point operations, two for a multiplication with
its addition:

    linear layers    2 x their parameters x tokens
    attention        2 x 2 x hidden size x layers x pairs of tokens of which the later sees the earlier
    reward           2 x hidden size x responses

and three times that for a training: the gradient of a product is two products of its size. No vocabulary
projection, no padding, no softmax, no normalisation. Of the last layer a reward reads the last token of each
response alone; `last_tokens` counts the keys and values of all tokens there, and the rest for those only.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoConfig

from apo.model.batching import packed_length
from apo.model.encoding import ResponseSet
from benchmarks.jobs import load_items

SIDE = 4096


def layer_flops(config: Any, *, keys: int, queries: int, pairs: int) -> int:
    """Operations of one layer of a Llama, forward.

    Args:
        keys: Tokens that have keys and values.
        queries: Tokens that have all the rest.
        pairs: Of a query with a key that it sees.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    narrow = hidden // config.num_attention_heads * config.num_key_value_heads
    linear = 2 * hidden * narrow * keys + (2 * hidden * hidden + 3 * hidden * inner) * queries
    return int(2 * linear + 4 * hidden * pairs)


def visible_pairs(item: ResponseSet) -> int:
    """Pairs (token, token that it sees) of a tree: a response sees the query and itself, causally."""
    query = len(item.prefix)
    own = sum(len(r) * query + len(r) * (len(r) + 1) // 2 for r in item.responses)
    return query * (query + 1) // 2 + own


def reward_flops(config: Any, item: ResponseSet, *, last_tokens: bool) -> int:
    """Operations of the rewards of one tree, forward; see above for `last_tokens`."""
    tokens, responses = packed_length(item), len(item.responses)
    whole = layer_flops(config, keys=tokens, queries=tokens, pairs=visible_pairs(item))
    last = whole
    if last_tokens:
        last = layer_flops(config, keys=tokens, queries=responses, pairs=item.unpacked_tokens)
    return int((config.num_hidden_layers - 1) * whole + last + 2 * config.hidden_size * responses)


def needed(folder: Path, job: str, rows: int, *, last_tokens: bool) -> int:
    """Operations of a training or a scoring of the benchmark."""
    config = AutoConfig.from_pretrained(folder / "backbone")
    items = load_items(folder, job, rows)
    forward = sum(reward_flops(config, item, last_tokens=last_tokens) for item in items)
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
