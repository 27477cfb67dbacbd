"""Sampling of four responses per query: this project, and `generate` of transformers in a plain loop.

The model has random weights and a bias on its end token, with which responses end after about `MEAN_TOKENS`
tokens. Their lengths have a geometric distribution, about as wide as that of Helpful&Harmless.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apo.model import runtime
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt
from apo.sampling.settings import Sampling
from benchmarks.data import read_prompts
from benchmarks.jobs import CHECKED, SEED

MEAN_TOKENS = 64
BATCH = 16  # prompts of the plain loop
SETTINGS = Sampling(
    origin="actor",
    backend="transformers",
    max_queries=0,
    num_samples=4,
    temperature=1.2,
    top_k=0,
    top_p=1.0,
    repetition_penalty=1.0,
    max_new_tokens=256,
    max_prompt_tokens=256,
)


def load_actor(folder: Path) -> Any:
    """The language model with a bias on its end token."""
    model = load_language_model(folder / "backbone").eval()
    vocabulary, hidden = model.lm_head.weight.shape
    head = nn.Linear(hidden, vocabulary)
    head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    nn.init.zeros_(head.bias)
    # All other logits are near 0, so the end token has probability 1 / MEAN_TOKENS after the temperature.
    end_probability = 1 / MEAN_TOKENS
    head.bias.data[model.config.eos_token_id] = SETTINGS.temperature * math.log(
        end_probability / (1 - end_probability) * (vocabulary - 1)
    )
    model.lm_head = head
    return model


def sample_tokens(model: Any, prompts: list[list[int]], settings: Sampling = SETTINGS) -> int:
    """Samples with this project; returns the number of drawn tokens without end tokens."""
    requests = [Prompt(str(i), ids, {}) for i, ids in enumerate(prompts)]
    end = model.config.eos_token_id
    all_samples = sample_responses(model, requests, settings, seed=SEED, ends=[end], desc="")
    return sum(len(ids) - (ids[-1:] == [end]) for samples in all_samples for ids in samples)


def ours(folder: Path, job: str, rows: int) -> Callable[[], int]:
    """A function that samples and returns the number of drawn tokens without end tokens."""
    device = runtime.set_up()
    model, tokenizer = load_actor(folder).to(device), load_tokenizer(folder / "backbone")
    prompts = [prompt_ids(tokenizer, query) for query in read_prompts(folder, rows or CHECKED)]
    return lambda: sample_tokens(model, prompts)


def prompt_ids(tokenizer: Any, query: str) -> list[int]:
    """The ids of a prompt, truncated on the left after the first token, as in this project."""
    ids = [tokenizer.bos_token_id, *tokenizer(query, add_special_tokens=False)["input_ids"]]
    max_tokens = SETTINGS.max_prompt_tokens
    return ids if len(ids) <= max_tokens else ids[:1] + ids[len(ids) - max_tokens + 1 :]


def plain(folder: Path, job: str, rows: int, **options: Any) -> Callable[[], int]:
    """`generate` on batches of `BATCH` prompts in the order of the file, padded on the left."""
    model, tokenizer = load_actor(folder), load_tokenizer(folder / "backbone")
    prompts = [prompt_ids(tokenizer, query) for query in read_prompts(folder, rows or CHECKED)]
    end = model.config.eos_token_id

    def run() -> int:
        torch.manual_seed(SEED)
        tokens = 0
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            width = max(map(len, batch))
            ids = torch.tensor(
                [[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in batch]
            )
            mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch])
            drawn = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=SETTINGS.temperature,
                top_k=0,
                top_p=SETTINGS.top_p,
                num_return_sequences=SETTINGS.num_samples,
                max_new_tokens=SETTINGS.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **options,
            )[:, width:]
            tokenizer.batch_decode(drawn, skip_special_tokens=True)
            tokens += int(((drawn == end).cumsum(-1) == 0).sum())
        return tokens

    return run


def continuous(folder: Path, job: str, rows: int) -> Callable[[], int]:
    """`generate_batch`, the continuous batching of transformers, with each prompt repeated four times."""
    from transformers import GenerationConfig

    model, tokenizer = load_actor(folder), load_tokenizer(folder / "backbone")
    prompts = [prompt_ids(tokenizer, query) for query in read_prompts(folder, rows or CHECKED)]
    config = GenerationConfig(
        do_sample=True,
        temperature=SETTINGS.temperature,
        top_k=0,
        top_p=SETTINGS.top_p,
        max_new_tokens=SETTINGS.max_new_tokens,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

    def run() -> int:
        repeated = [prompt for prompt in prompts for _ in range(SETTINGS.num_samples)]
        outputs = model.generate_batch(inputs=repeated, generation_config=config)
        samples = [output.generated_tokens for output in outputs.values()]
        tokenizer.batch_decode(samples, skip_special_tokens=True)
        return sum(len(ids) - (ids[-1:] == [model.config.eos_token_id]) for ids in samples)

    return run
