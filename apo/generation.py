"""Responses of a language model to queries, every one a function of seed, query and sample index."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from apo import machine
from apo.batching import micro_batches
from apo.config import Sampling
from apo.dialogue import dialogue_to_messages
from apo.pieces import Pieces

LEAVE = 0.75  # rows that have ended leave the batch when fewer than this part go on


def draw(scores: Float[Tensor, "seq vocab"], uniform: Float[Tensor, "seq"]) -> Int[Tensor, "seq"]:
    """The token of each row that the row's own number in [0, 1) draws from softmax(scores)."""
    cumulative = scores.double().softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
    last = (scores > float("-inf")).long().cumsum(-1).argmax(-1)  # where rounding leads past the end
    return torch.minimum(drawn, last)


def sample_responses(
    model: Any,
    tokenizer: Any,
    queries: Sequence[tuple[str, str]],
    settings: Sampling,
    *,
    seed: int,
    device: torch.device,
    what: str,
    counts: Counter[str],
    pieces: Pieces | None = None,
) -> list[list[str]]:
    """`settings.num_samples` responses for each (query_id, query), in the order given.

    What is in `pieces` already is not sampled again. Counts `prompts_cut` and `unfinished` (no end within
    `max_new_tokens`).
    """
    prompts = [_prompt_ids(tokenizer, query, settings, counts) for _, query in queries]
    lengths = [settings.num_samples * (len(prompt) + settings.max_new_tokens) for prompt in prompts]
    answers: list[list[str]] = [[] for _ in queries]
    with tqdm(total=len(queries), desc=what, unit="query", disable=None) as progress:
        for indices in micro_batches(lengths, budget="APO_SAMPLE_BUDGET", tokens=machine.sample_budget()):

            def answer(indices: list[int] = indices) -> list[list[int]]:
                numbers = [
                    _generator(seed, queries[i][0], index).random(settings.max_new_tokens)
                    for i in indices
                    for index in range(settings.num_samples)
                ]
                return decode(
                    model,
                    [prompts[i] for i in indices],
                    torch.from_numpy(np.stack(numbers)).to(device),
                    processors=_processors(settings),
                    eos_id=tokenizer.eos_token_id,
                )

            rows = pieces.get([what, *indices], answer) if pieces else answer()
            counts["unfinished"] += sum(len(row) == settings.max_new_tokens for row in rows)
            texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
            for place, i in enumerate(indices):
                answers[i] = texts[place * settings.num_samples : (place + 1) * settings.num_samples]
            progress.update(len(indices))
    return answers


@torch.inference_mode()
def decode(
    model: Any,
    prompts: Sequence[list[int]],
    uniforms: Float[Tensor, "seq step"],
    *,
    processors: LogitsProcessorList,
    eos_id: int,
) -> list[list[int]]:
    """Draws tokens until the end token or until the numbers are used up.

    Every prompt is read once for all its rows; rows that have ended leave the batch.

    Args:
        prompts: Token ids.
        uniforms: Numbers in [0, 1), one a token; the rows of a prompt follow each other.
        processors: What turns logits into the scores that are drawn from.

    Returns:
        The drawn tokens of each row, without the end token.
    """
    device, count = uniforms.device, len(uniforms) // len(prompts)
    width = max(map(len, prompts))
    # What pads a prompt is masked, but the repetition penalty sees it: a token that the row has anyway.
    ids = torch.tensor([p[:1] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    cache = DynamicCache(config=model.config)
    logits = _next_logits(model, ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
    cache.batch_repeat_interleave(count)
    ids, mask, logits = (x.repeat_interleave(count, 0) for x in (ids, mask, logits))
    rows = torch.arange(len(uniforms), device=device)  # which rows are still in the batch
    drawn = torch.full(uniforms.shape, eos_id, device=device)
    going = torch.ones_like(rows, dtype=torch.bool)
    for step in range(uniforms.shape[1]):
        token = draw(processors(ids, logits), uniforms[rows, step])
        token = torch.where(going, token, eos_id)
        drawn[rows, step] = token
        going &= token != eos_id
        left = int(going.sum())
        if not left or step + 1 == uniforms.shape[1]:
            break
        ids = torch.cat([ids, token[:, None]], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        if left < LEAVE * len(rows):
            kept = going.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            rows, ids, mask, token, going = (x[kept] for x in (rows, ids, mask, token, going))
        logits = _next_logits(model, token[:, None], mask, mask.sum(-1, keepdim=True) - 1, cache)
    ends = (drawn == eos_id).long()
    ends = torch.where(ends.any(-1), ends.argmax(-1), drawn.shape[1])
    return [row[:end] for row, end in zip(drawn.tolist(), ends.tolist(), strict=True)]


def _next_logits(
    model: Any, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Float[Tensor, "seq vocab"]:
    """Logits of the token after the last one; the cache grows by the ids."""
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1].float()
    return logits


def _prompt_ids(tokenizer: Any, query: str, settings: Sampling, counts: Counter[str]) -> list[int]:
    """The prompt as ids, cut on the left to `max_prompt_tokens`, the first token kept."""
    if settings.prompt == "chat":
        ids = list(
            tokenizer.apply_chat_template(
                dialogue_to_messages(query), add_generation_prompt=True, return_dict=False
            )
        )
    else:
        bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        ids = bos + tokenizer(query, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if len(ids) <= settings.max_prompt_tokens:
        return ids
    counts["prompts_cut"] += 1
    return ids[:1] + ids[len(ids) - settings.max_prompt_tokens + 1 :]


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
