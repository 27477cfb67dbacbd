"""vLLM as the sampler (`backend: vllm`); imported when the first query is sampled.

Each sample is a request of its own: the ids of its prompt, which are those of the other backend, and a seed
that follows from run, query and index alone. The samples of a query follow each other, so that prefix caching
reads its prompt once. The end tokens are those of the other backend, and our tokenizer decodes.

APO_TENSOR_PARALLEL  GPUs over which vLLM lays a model, 1 by default
APO_VLLM_MEMORY      part of a GPU's memory that vLLM takes, by default as much as vLLM itself would; on a CPU
                     part of the machine's, 0.4 by default
"""

import hashlib
import importlib.util
import json
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
TEMPERATURES = (0.01, 2.0)  # vLLM lifts a lower one to the first in silence, and refuses one above the second
CPU_MEMORY = 0.4
QUIET = {  # an engine reads the checkpoint in a folder, and reports to nobody
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def check_vllm(settings: Sampling) -> None:
    """Raises UserError where vLLM can't do what is asked; to be called before anything is started.

    Several processes would each start vLLM; and see `TEMPERATURES`.
    """
    if settings.backend != "vllm":
        return
    least, most = TEMPERATURES
    if not least <= settings.temperature <= most:
        raise UserError(
            "params.yaml: sample.PART.temperature",
            found=f"{settings.temperature:g}, and sample.PART.backend: vllm",
            expected=f"{least:g} to {most:g}, which is what vLLM computes with",
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
    """As `apo.sampling.generation.sample_responses`, by the model in the folder `llm`.

    Raises:
        UserError: vLLM is not installed, or gives up on a request.
    """
    answers: list[list[list[int]]] = []
    with (
        tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress,
        Engine(llm, settings) as engine,
    ):
        groups = [
            range(start, min(start + QUERIES, len(prompts))) for start in range(0, len(prompts), QUERIES)
        ]

        def answer(number: int) -> list[list[int]]:
            asked = [(prompts[i].ids, prompts[i].query_id) for i in groups[number]]
            return engine.answer(requests(asked, settings, seed=seed, ends=ends))

        keys = [[desc, places.start, places.stop] for places in groups]
        for places, rows in zip(groups, chunks.values(keys, answer), strict=True):
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


def engine_arguments(llm: Path, settings: Sampling, *, precision: str, on_cpu: bool) -> dict[str, Any]:
    """The arguments of vLLM's LLM.

    Args:
        precision: float32 or bf16.
        on_cpu: Whether it is vLLM's build for CPUs. A prompt is then read whole: between two parts of it the
            engine would set a seeded generator back, which those of a CPU can't. And nothing is compiled,
            which takes minutes there.
    """
    memory = memory_part(CPU_MEMORY if on_cpu else None)
    own: dict[str, Any] = {"gpu_memory_utilization": memory} if memory else {}
    if on_cpu:
        own |= {"enable_chunked_prefill": False, "enforce_eager": True}
    return own | {
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


def memory_part(default: float | None) -> float | None:
    """The part of a GPU's memory, or without one of the machine's, that vLLM takes; None is its choice."""
    text = os.environ.get("APO_VLLM_MEMORY")
    if text is None:
        return default
    try:
        part = float(text)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise UserError(
            "APO_VLLM_MEMORY",
            found=repr(text),
            expected="the part of the memory that vLLM may take, above 0 and at most 1",
            do="unset it, or write for example 0.5",
        )
    return part


def check_head_size(llm: Path, sizes: Sequence[int]) -> None:
    """Raises UserError where the attention heads of a model have none of these sizes."""
    config = json.loads((llm / "config.json").read_text(encoding="utf-8"))
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
    """vLLM, started by the first question: what was sampled before needs none."""

    def __init__(self, llm: Path, settings: Sampling) -> None:
        self._llm, self._settings = llm, settings
        self._running: Any = None
        memory_part(None)  # what is wrong with it is known before anything is started
        runtime.RUN_INFO.update(sampler="vllm", tensor_parallel=tensor_parallel())

    def answer(self, asked: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[list[int]]:
        """The ids of the response to each of the `requests`, in their order.

        Raises:
            UserError: vLLM is not installed, does not start, or gives up.
        """
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "params.yaml: sample.PART.backend",
                found="'vllm', which is not installed",
                expected="the packages of requirements-vllm.txt (requirements-vllm-cpu.txt on a CPU), in an "
                "environment of their own",
                do="run the pipeline in it (docs/training.md), or write transformers",
            )
        ends = asked[0][1]["stop_token_ids"]
        with _one_message():
            outputs = self._generate(asked)
        return [response_ids(output, self._settings, ends=ends) for output in outputs]

    def _generate(self, asked: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import vllm
        from vllm.platforms import current_platform

        parameters = [vllm.SamplingParams(**arguments) for _, arguments in asked]
        if self._running is None:
            precision, on_cpu = str(runtime.RUN_INFO["precision"]), current_platform.is_cpu()
            if on_cpu:
                from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

                check_head_size(self._llm, CPUAttentionBackend.get_supported_head_sizes())
            arguments = engine_arguments(self._llm, self._settings, precision=precision, on_cpu=on_cpu)
            self._running = vllm.LLM(**arguments)
        outputs: list[Any] = self._running.generate(
            [prompt for prompt, _ in asked], parameters, use_tqdm=False
        )
        return outputs

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the memory that the model takes."""
        if self._running is not None:
            self._running.llm_engine.engine_core.shutdown()


@contextmanager
def _one_message() -> Iterator[None]:
    """An error of vLLM's as ours; what its processes print stands above it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - vLLM raises what its engine ran into, of any library
        text = " ".join(str(error).split())
        raise UserError(
            "vLLM",
            found=f"{type(error).__name__}{': ' if text else ''}{text[:300]}",
            expected="an engine that starts and answers",
            do="look for the cause in what vLLM printed; APO_VLLM_MEMORY=0.2 takes less memory, and "
            "sample.PART.backend: transformers needs no engine",
        ) from None
