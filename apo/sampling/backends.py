"""Responses of the language model in a folder, by the backend that `sample.PART.backend` names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from apo.chunks.resumable import Chunks
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.sampling.generation import sample_responses
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import sample_with_vllm


def respond(
    llm: Path,
    queries: Sequence[tuple[str, str]],
    settings: Sampling,
    *,
    seed: int,
    device: torch.device,
    desc: str,
    counts: Counter[str],
    chunks: Chunks,
) -> list[list[str]]:
    """`settings.num_samples` responses for each (query_id, query), in the order given.

    See `sample_responses`; the memory that the model takes is free afterwards.
    """
    tokenizer = load_tokenizer(llm)
    if settings.backend == "vllm":
        return sample_with_vllm(
            llm, tokenizer, queries, settings, seed=seed, desc=desc, counts=counts, chunks=chunks
        )
    return sample_responses(
        load_language_model(llm).to(device).eval(),
        tokenizer,
        queries,
        settings,
        seed=seed,
        device=device,
        desc=desc,
        counts=counts,
        chunks=chunks,
    )
