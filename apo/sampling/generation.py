"""Sampled responses of a language model, each a function of seed, query and sample index.

In float32 a draw at the very border between two tokens may come out otherwise in another batch. With budgets
of 65,536 and 5,000 tokens, which cut other batches, none of 10,240 texts differed (35 tokens on average).
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

BLOCK = 64  # tokens whose probabilities are added up before a draw looks inside
LOOK = 4  # steps between two looks at which rows have ended; a GPU would wait at every one


def draw(scores: Float[Tensor, "row vocab"], uniform: Float[Tensor, "row"]) -> Int[Tensor, "row"]:
    """The token of each row that the row's own number in [0, 1) draws from softmax(scores).

    It is the first token up to which the probabilities add up to more than the number: looked for among
    blocks of tokens, then inside the block, in double precision.
    """
    if scores.shape[1] % BLOCK:
        scores = pad(scores, (0, -scores.shape[1] % BLOCK), value=float("-inf"))
    blocks = scores.softmax(-1).unflatten(-1, (-1, BLOCK))
    sums = blocks.sum(-1, dtype=torch.double).cumsum(-1)
    number = uniform.clamp(max=1 - 2**-52)[:, None] * sums[:, -1:]  # less than the last sum, rounded too
    block = torch.searchsorted(sums, number, right=True)
    inside = blocks[torch.arange(len(block), device=block.device), block[:, 0]].double()
    token = torch.searchsorted(inside.cumsum(-1), number - pad(sums, (1, 0)).gather(1, block), right=True)
    last = BLOCK - 1 - (inside > 0).flip(-1).long().argmax(-1, keepdim=True)  # where rounding leads past it
    return (block * BLOCK + torch.minimum(token, last))[:, 0]


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

    What is in `chunks` already is not sampled again.

    Args:
        model: In evaluation mode, on its device.
        ends: The tokens that end a response.
    """
    device = model.device
    copies = 1 if shares_prompts(model) else settings.num_samples
    lengths = [copies * len(p.ids) + settings.num_samples * settings.max_new_tokens for p in prompts]
    answers: list[list[list[int]]] = [[] for _ in prompts]
    budget = runtime.sample_budget()
    groups = list(micro_batches(lengths, budget="APO_SAMPLE_BUDGET", tokens=budget))

    def answer(number: int) -> list[list[int]]:
        numbers = [
            _generator(seed, prompts[i].query_id, index).random(settings.max_new_tokens)
            for i in groups[number]
            for index in range(settings.num_samples)
        ]
        with runtime.explain_oom("APO_SAMPLE_BUDGET", budget), runtime.autocast(device):
            return decode(
                model,
                [prompts[i].ids for i in groups[number]],
                torch.from_numpy(np.stack(numbers)).to(device),
                processors=_processors(settings),
                ends=ends,
            )

    values = values_of([[desc, *indices] for indices in groups], answer, chunks)
    with tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress:
        for indices, rows in zip(groups, values, strict=True):
            for place, i in enumerate(indices):
                answers[i] = rows[place * settings.num_samples : (place + 1) * settings.num_samples]
            progress.update(len(indices))
    return answers


@torch.inference_mode()
def decode(
    model: Any,
    prompts: Sequence[list[int]],
    uniforms: Float[Tensor, "seq step"],
    *,
    processors: LogitsProcessorList,
    ends: Sequence[int],
) -> list[list[int]]:
    """Draws tokens until an end token or until the numbers are used up.

    Every prompt is read once for all its rows; rows that have ended leave the batch.

    Args:
        prompts: Token ids.
        uniforms: Numbers in [0, 1), one a token; the rows of a prompt follow each other.
        processors: What turns logits into the scores that are drawn from.
        ends: The tokens that end a response.

    Returns:
        The drawn tokens of each row, up to its end token.
    """
    device, count, steps = uniforms.device, len(uniforms) // len(prompts), uniforms.shape[1]
    width = max(map(len, prompts))
    # The repetition penalty sees what pads a prompt: a token that the row has anyway.
    padded = torch.tensor([p[:1] * (width - len(p)) + p for p in prompts], device=device)
    stop = torch.tensor(ends, device=device)
    text = pad(padded.repeat_interleave(count, 0), (0, steps), value=ends[0])
    rows = torch.arange(len(text), device=device)  # which are still in the batch
    going = torch.ones_like(rows, dtype=torch.bool)
    memory = read_prompts(model, prompts, count)
    for step in range(width, width + steps):
        logits = memory.logits(text[rows, step - 1]).float()
        token = draw(processors(text[rows, :step], logits), uniforms[rows, step - width])
        text[rows, step] = token
        going &= ~torch.isin(token, stop)
        if (step + 1 - width) % LOOK == 0:
            if not going.any():
                break
            kept = memory.keep(going)
            rows, going = rows[kept], going[kept]
    drawn = text[:, width:]
    is_end = torch.isin(drawn, stop).long()
    lengths = torch.where(is_end.any(-1), is_end.argmax(-1) + 1, steps)  # rows go on until the next look
    return [row[:length] for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True)]


def _processors(settings: Sampling) -> LogitsProcessorList:
    """The library's processors, in the library's order."""
    chain = LogitsProcessorList()
    if settings.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    chain.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        chain.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chain.append(TopPLogitsWarper(settings.top_p))
    return chain


def _generator(seed: int, query_id: str, index: int) -> np.random.Generator:
    """Random numbers that depend on the run's seed, the query and the sample index alone."""
    digest = hashlib.sha256(f"{seed}:{index}:{query_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
