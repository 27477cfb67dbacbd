"""vLLM as the sampler (`backend: vllm`); imported when the first query is sampled.

Each sample is a request of its own: the ids of its prompt, which are those of the other backend, and a seed
that follows from run, query and index alone. The samples of a query follow each other, so that prefix caching
reads its prompt once. The end tokens are those of the other backend, and our tokenizer decodes.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.chunks.resumable import Chunks
from apo.core import distributed
from apo.core.errors import UserError
from apo.model import runtime
from apo.sampling.prompts import Prompt
from apo.sampling.settings import Sampling

QUERIES = 256  # of a piece; all their samples are under way at a time
DTYPES = {"float32": "float32", "bf16": "bfloat16"}


def refuse_launcher(settings: Sampling) -> None:
    """Raises UserError where several processes would each start vLLM; to be asked before any is started."""
    if settings.backend == "vllm" and (distributed.launcher_requested() or distributed.is_worker()):
        raise UserError(
            "APO_LAUNCH",
            found="a launcher, and sample.PART.backend: vllm",
            expected="one process: vLLM lays the model over GPUs itself",
            do="unset APO_LAUNCH where a stage samples with vLLM, and set APO_TENSOR_PARALLEL",
        )


def sample_with_vllm(
    llm: Path,
    prompts: Sequence[Prompt],
    settings: Sampling,
    *,
    seed: int,
    ends: Sequence[int],
    desc: str,
    chunks: Chunks,
) -> list[list[list[int]]]:
    """As `apo.sampling.generation.sample_responses`, by the model in the folder `llm`.

    Raises:
        UserError: vLLM is not installed, or gives up on a request.
    """
    answers: list[list[list[int]]] = []
    with (
        tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress,
        _engine(llm, settings) as engine,
    ):
        for start in range(0, len(prompts), QUERIES):
            places = range(start, min(start + QUERIES, len(prompts)))

            def answer(places: range = places) -> list[list[int]]:
                asked = [(prompts[i].ids, prompts[i].query_id) for i in places]
                return engine.answer(requests(asked, settings, seed=seed, ends=ends))

            rows = chunks.get([desc, places.start, places.stop], answer)
            size = settings.num_samples
            answers += [rows[place : place + size] for place in range(0, len(rows), size)]
            progress.update(len(places))
    return answers


def requests(
    asked: Sequence[tuple[list[int], str]], settings: Sampling, *, seed: int, ends: Sequence[int]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """A request for each sample: what vLLM takes as prompt, and the arguments of its SamplingParams.

    Args:
        asked: Ids of the prompt and query_id of each query.
        seed: Of the run.
        ends: The tokens that end a response.
    """
    shared = {
        "n": 1,
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "repetition_penalty": settings.repetition_penalty,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": list(ends),
        "ignore_eos": True,  # it is among them
        "detokenize": False,
    }
    return [
        ({"prompt_token_ids": prompt}, shared | {"seed": seed_of(seed, query_id, index)})
        for prompt, query_id in asked
        for index in range(settings.num_samples)
    ]


def seed_of(seed: int, query_id: str, index: int) -> int:
    """The seed of one sample, from 0 to below 2^63, which a torch.Generator takes."""
    digest = hashlib.sha256(f"{seed}:{index}:{query_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def engine_arguments(llm: Path, settings: Sampling, *, precision: str) -> dict[str, Any]:
    """The arguments of vLLM's LLM.

    Args:
        precision: float32 or bf16.
    """
    return {
        "model": str(llm),
        "dtype": DTYPES[precision],
        "max_model_len": settings.max_prompt_tokens + settings.max_new_tokens,
        "tensor_parallel_size": tensor_parallel(),
        "enable_prefix_caching": True,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",  # no settings from the checkpoint
    }


def response_ids(output: Any, settings: Sampling, *, ends: Sequence[int]) -> list[int]:
    """The ids of a response up to its end token, from vLLM's output of one request.

    Raises:
        UserError: It has neither ended nor reached its length.
    """
    [found] = output.outputs
    ids = list(found.token_ids)
    if found.finish_reason == "stop" and ids and ids[-1] in ends:
        return ids
    if found.finish_reason == "length" and len(ids) == settings.max_new_tokens:
        return ids
    raise UserError(
        "vLLM",
        found=f"a response of {len(ids)} tokens that ended by {found.finish_reason!r}",
        expected="one that ends with an end token or has max_new_tokens",
        do="look at what vLLM printed, or set sample.PART.backend: transformers",
    )


def tensor_parallel() -> int:
    """Over how many GPUs the layers of the model are laid."""
    text = os.environ.get("APO_TENSOR_PARALLEL", "1")
    if not text.isdigit() or int(text) < 1:
        raise UserError(
            "APO_TENSOR_PARALLEL",
            found=repr(text),
            expected="a number of GPUs that divides the model's attention heads",
            do="unset it",
        )
    return int(text)


class _Engine:
    """vLLM, started by the first question: what was sampled before needs none."""

    def __init__(self, llm: Path, settings: Sampling) -> None:
        self._llm, self._settings = llm, settings
        self._running: Any = None

    def answer(self, asked: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[list[int]]:
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "params.yaml: sample.PART.backend",
                found="'vllm', which is not installed",
                expected="the packages of requirements-vllm.txt, in an environment of their own, and a GPU",
                do="run the pipeline in it (docs/training.md), or write transformers",
            )
        import vllm

        if self._running is None:
            precision = str(runtime.RUN_INFO["precision"])
            self._running = vllm.LLM(**engine_arguments(self._llm, self._settings, precision=precision))
        parameters = [vllm.SamplingParams(**arguments) for _, arguments in asked]
        outputs = self._running.generate([prompt for prompt, _ in asked], parameters, use_tqdm=False)
        ends = asked[0][1]["stop_token_ids"]
        return [response_ids(output, self._settings, ends=ends) for output in outputs]

    def stop(self) -> None:
        """Frees the memory of the GPUs."""
        if self._running is not None:
            self._running.llm_engine.engine_core.shutdown()


@contextmanager
def _engine(llm: Path, settings: Sampling) -> Iterator[_Engine]:
    runtime.RUN_INFO.update(sampler="vllm", tensor_parallel=tensor_parallel())
    engine = _Engine(llm, settings)
    try:
        yield engine
    finally:
        engine.stop()
