"""Sampled responses of a language model, each a function of seed, query and sample index.

In float32, rounding that depends on the batch can change a draw at the border between two tokens. With
budgets of 65,536 and 5,000 tokens, which give different batches, none of 10,240 texts differed (35 tokens on
average).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from apo.chunks.resumable import Chunks, values_of
from apo.model import runtime
from apo.model.batching import micro_batches
from apo.sampling.kv_cache import read_prompts, shares_prompts
from apo.sampling.prompts import Prompt
from apo.sampling.settings import Sampling

BLOCK = 64  # tokens per block of the cumulative sum that a draw searches first
CHECK_STEPS = 4  # steps between two checks for ended rows, each of which synchronizes a GPU


def draw(scores: Float[Tensor, "row vocab"], uniform: Float[Tensor, "row"]) -> Int[Tensor, "row"]:
    """Draws a token of each row from softmax(scores), with a given uniform number in [0, 1).

    It is the first token whose cumulative probability exceeds the number. The search goes over blocks of
    tokens, then over the tokens of one block, in double precision.
    """
    if scores.shape[1] % BLOCK:
        scores = pad(scores, (0, -scores.shape[1] % BLOCK), value=float("-inf"))
    probabilities = scores.softmax(-1).unflatten(-1, (-1, BLOCK))
    cumulative = probabilities.sum(-1, dtype=torch.double).cumsum(-1)
    # With the clamp, rounding can't lift a number to the last sum.
    threshold = uniform.clamp(max=1 - 2**-52)[:, None] * cumulative[:, -1:]
    block = torch.searchsorted(cumulative, threshold, right=True)
    within = probabilities[torch.arange(len(block), device=block.device), block[:, 0]].double()
    before = pad(cumulative, (1, 0)).gather(1, block)
    token = torch.searchsorted(within.cumsum(-1), threshold - before, right=True)
    last_token = BLOCK - 1 - (within > 0).flip(-1).long().argmax(-1, keepdim=True)  # rounding may exceed it
    return (block * BLOCK + torch.minimum(token, last_token))[:, 0]


def sample_responses(
    model: Any,
    prompts: Sequence[Prompt],
    settings: Sampling,
    *,
    seed: int,
    ends: Sequence[int],
    desc: str,
    chunks: Chunks | None = None,
) -> list[list[list[int]]]:
    """The ids of `settings.num_samples` responses to each prompt, in the order given.

    Responses that are in `chunks` are not sampled again.

    Args:
        model: The language model in evaluation mode, on its device.
        ends: The tokens that end a response.
    """
    device = model.device
    copies = 1 if shares_prompts(model) else settings.num_samples
    lengths = [
        copies * len(prompt.ids) + settings.num_samples * settings.max_new_tokens for prompt in prompts
    ]
    responses: list[list[list[int]]] = [[] for _ in prompts]
    budget = runtime.sample_budget()
    groups = list(micro_batches(lengths, budget="APO_SAMPLE_BUDGET", tokens=budget))

    def sample(number: int) -> list[list[int]]:
        uniforms = [
            _generator(seed, prompts[i].query_id, index).random(settings.max_new_tokens)
            for i in groups[number]
            for index in range(settings.num_samples)
        ]
        with runtime.explain_oom("APO_SAMPLE_BUDGET", budget), runtime.autocast(device):
            return decode(
                model,
                [prompts[i].ids for i in groups[number]],
                torch.from_numpy(np.stack(uniforms)).to(device),
                processors=_processors(settings),
                ends=ends,
            )

    values = values_of([[desc, *indices] for indices in groups], sample, chunks)
    with tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress:
        for indices, drawn in zip(groups, values, strict=True):
            for number, i in enumerate(indices):
                first = number * settings.num_samples
                responses[i] = drawn[first : first + settings.num_samples]
            progress.update(len(indices))
    return responses


@torch.inference_mode()
def decode(
    model: Any,
    prompts: Sequence[list[int]],
    uniforms: Float[Tensor, "seq step"],
    *,
    processors: LogitsProcessorList,
    ends: Sequence[int],
) -> list[list[int]]:
    """Draws tokens until an end token or until the uniform numbers are used up.

    Each prompt is read once for all its rows. Rows that have ended leave the batch.

    Args:
        model, ends: See `sample_responses`.
        uniforms: Numbers in [0, 1), one per token; the rows of a prompt are adjacent.
        processors: They turn logits into the scores of which `draw` takes the softmax.

    Returns:
        The drawn tokens of each row, up to and including its end token.
    """
    device, num_samples, steps = uniforms.device, len(uniforms) // len(prompts), uniforms.shape[1]
    width = max(map(len, prompts))
    # The repetition penalty sees the padding of a prompt, so it is a token that the prompt contains.
    padded = torch.tensor([prompt[:1] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    stop_ids = torch.tensor(ends, device=device)
    ids = pad(padded.repeat_interleave(num_samples, 0), (0, steps), value=ends[0])
    rows = torch.arange(len(ids), device=device)  # the rows that are in the batch
    active = torch.ones_like(rows, dtype=torch.bool)
    cache = read_prompts(model, prompts, num_samples)
    for step in range(width, width + steps):
        logits = cache.logits(ids[rows, step - 1]).float()
        token = draw(processors(ids[rows, :step], logits), uniforms[rows, step - width])
        ids[rows, step] = token
        active &= ~torch.isin(token, stop_ids)
        if (step + 1 - width) % CHECK_STEPS == 0:
            if not active.any():
                break
            kept_rows = cache.keep(active)
            rows, active = rows[kept_rows], active[kept_rows]
    drawn = ids[:, width:]
    is_end = torch.isin(drawn, stop_ids).long()
    lengths = torch.where(is_end.any(-1), is_end.argmax(-1) + 1, steps)  # rows go on until the next check
    return [row[:length] for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True)]


def _processors(settings: Sampling) -> LogitsProcessorList:
    """The processors of transformers, in the order of `generate`."""
    processors = LogitsProcessorList()
    if settings.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    processors.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        processors.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        processors.append(TopPLogitsWarper(settings.top_p))
    return processors


def sample_seed(seed: int, query_id: str, index: int) -> int:
    """A seed of 64 bits that depends only on the seed of the run, the query and the sample index."""
    digest = hashlib.sha256(f"{seed}:{index}:{query_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _generator(seed: int, query_id: str, index: int) -> np.random.Generator:
    return np.random.default_rng(sample_seed(seed, query_id, index))
