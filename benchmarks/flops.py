"""The matrix multiplications of a reward, and the rate of this machine in a large matrix multiplication.

Floating point operations of a packed sequence (the query once, then every response), two for a multiplication
with its addition:

    linear layers    2 x their parameters x tokens
    attention        2 x 2 x hidden size x layers x pairs of tokens of which the later attends to the earlier
    reward           2 x hidden size x responses

Training takes three times as many: the gradient of a product is two products of its size. Vocabulary
projection, padding, softmax and normalization are not counted. A reward needs only the last token of each
response of the last layer. With `last_tokens`, keys and values of that layer are counted for all tokens, and
its other operations for those last tokens only.
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
        keys: Tokens with keys and values.
        queries: Tokens with queries, attention output and MLP.
        pairs: Pairs of a query and a key to which it attends.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    narrow = hidden // config.num_attention_heads * config.num_key_value_heads
    linear = 2 * hidden * narrow * keys + (2 * hidden * hidden + 3 * hidden * inner) * queries
    return int(2 * linear + 4 * hidden * pairs)


def visible_pairs(item: ResponseSet) -> int:
    """Pairs (token, token to which it attends) of a packed sequence; attention is causal."""
    query = len(item.prefix)
    responses = sum(len(ids) * query + len(ids) * (len(ids) + 1) // 2 for ids in item.responses)
    return query * (query + 1) // 2 + responses


def reward_flops(config: Any, item: ResponseSet, *, last_tokens: bool) -> int:
    """Operations of the forward pass of one packed sequence; see above for `last_tokens`."""
    tokens, responses = packed_length(item), len(item.responses)
    layer = layer_flops(config, keys=tokens, queries=tokens, pairs=visible_pairs(item))
    last_layer = layer
    if last_tokens:
        last_layer = layer_flops(config, keys=tokens, queries=responses, pairs=item.unpacked_tokens)
    return int((config.num_hidden_layers - 1) * layer + last_layer + 2 * config.hidden_size * responses)


def needed(folder: Path, job: str, rows: int, *, last_tokens: bool) -> int:
    """Operations of a training or scoring job."""
    config = AutoConfig.from_pretrained(folder / "backbone")
    items = load_items(folder, job, rows)
    forward = sum(reward_flops(config, item, last_tokens=last_tokens) for item in items)
    return 3 * forward if job.startswith("train") else forward


def matmul(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that returns the median operations per second of `rows` products of float32 matrices."""
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
