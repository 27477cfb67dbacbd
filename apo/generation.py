"""Responses of a language model to queries, every one a function of seed, query and sample index."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from apo import machine
from apo.batching import micro_batches
from apo.config import Sampling


class SeededDraw(LogitsProcessor):
    """Leaves one token per row: the one that the row's own uniform numbers draw.

    Greedy decoding behind it is sampling, and a row's tokens do not depend on its neighbours.

    Args:
        seeds: One per row.
        prompt_length: Tokens before the first drawn one.
        steps: Tokens drawn at most.
    """

    def __init__(self, seeds: Sequence[int], prompt_length: int, steps: int) -> None:
        self.prompt_length = prompt_length
        self.uniforms = torch.from_numpy(np.stack([np.random.default_rng(s).random(steps) for s in seeds]))

    def __call__(
        self, input_ids: Int[Tensor, "seq tok"], scores: Float[Tensor, "seq vocab"]
    ) -> Float[Tensor, "seq vocab"]:
        """Scores with 0 for the drawn token and -inf for the others."""
        uniform = self.uniforms[:, input_ids.shape[1] - self.prompt_length].to(scores.device)
        cumulative = scores.double().softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)
        drawn = drawn.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, float("-inf")).scatter(-1, drawn, 0.0)


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
) -> Iterator[list[str]]:
    """`settings.num_samples` responses for each (query_id, query), in the order given.

    Counts `prompts_cut` and `unfinished` (no end within `max_new_tokens`).
    """
    prompts = [_prompt_ids(tokenizer, query, settings, counts) for _, query in queries]
    answers: list[list[str]] = [[] for _ in queries]
    longest = settings.max_new_tokens
    lengths = [settings.num_samples * (len(prompt) + longest) for prompt in prompts]
    with tqdm(total=len(queries), desc=what, unit="query", disable=None) as progress:
        for indices in micro_batches(lengths, token_budget=machine.token_budget()):
            seeds = [
                _seed_of(seed, queries[i][0], index) for i in indices for index in range(settings.num_samples)
            ]
            width = max(len(prompts[i]) for i in indices)
            rows = [prompts[i] for i in indices for _ in range(settings.num_samples)]
            ids = torch.full((len(rows), width), tokenizer.pad_token_id)
            mask = torch.zeros((len(rows), width), dtype=torch.long)
            for row, prompt in enumerate(rows):  # on the left: every row ends where the drawing begins
                ids[row, width - len(prompt) :] = torch.tensor(prompt)
                mask[row, width - len(prompt) :] = 1
            with torch.inference_mode():
                output = model.generate(
                    input_ids=ids.to(device),
                    attention_mask=mask.to(device),
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=longest,
                    logits_processor=_processors(settings, SeededDraw(seeds, width, longest)),
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    temperature=None,
                    top_k=None,
                    top_p=None,
                )[:, width:].cpu()
            counts["unfinished"] += int((output != tokenizer.eos_token_id).all(-1).sum())
            texts = tokenizer.batch_decode(output, skip_special_tokens=True)
            for place, i in enumerate(indices):
                answers[i] = texts[place * settings.num_samples : (place + 1) * settings.num_samples]
            progress.update(len(indices))
    yield from answers


def _prompt_ids(tokenizer: Any, query: str, settings: Sampling, counts: Counter[str]) -> list[int]:
    """The prompt as ids, cut on the left to `max_prompt_tokens`, the first token kept."""
    if settings.prompt == "chat":
        from apo.dialogue import dialogue_to_messages

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


def _processors(settings: Sampling, draw: SeededDraw) -> LogitsProcessorList:
    """The library's processors in its own order, then the draw."""
    chain = LogitsProcessorList()
    if settings.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    chain.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        chain.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chain.append(TopPLogitsWarper(settings.top_p))
    chain.append(draw)
    return chain


def _seed_of(seed: int, query_id: str, index: int) -> int:
    """A seed that depends on the run's seed, the query and the sample index alone."""
    digest = hashlib.sha256(f"{seed}:{index}:{query_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little")
