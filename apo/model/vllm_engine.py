"""vLLM, in an environment of its own: what starts it, and its errors as one message.

docs/where.md lists the environment variables with their defaults.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apo.core import distributed
from apo.core.environment import environment_int
from apo.core.errors import UserError
from apo.model import runtime
from apo.model.checkpoint_files import read_json
from apo.model.versions import installed

DTYPES = {"float32": "float32", "bf16": "bfloat16"}
CPU_MEMORY = 0.4
ENVIRONMENT = {  # no network and no usage statistics
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class VLLM:
    """A vLLM engine. The first request starts it: a resumed stage may need none.

    Args:
        parameter: The parameter of params.yaml that chose vLLM, for messages.
        max_length: Tokens of the longest sequence.
        options: Further arguments of vLLM's LLM; `cpu_options` only for its CPU build.

    Raises:
        UserError: APO_TENSOR_PARALLEL or APO_VLLM_MEMORY is not usable.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parameter: str,
        max_length: int,
        options: dict[str, Any],
        cpu_options: dict[str, Any],
    ) -> None:
        self._folder, self._parameter, self._max_length = folder, parameter, max_length
        self._options, self._cpu_options = options, cpu_options
        self._llm: Any = None
        memory_fraction(None)  # raises its error before anything is started
        runtime.RUN_INFO.update(engine="vllm", tensor_parallel=tensor_parallel())

    def run(self, request: Callable[[Any, Any], list[Any]]) -> list[Any]:
        """The outputs of a request.

        Args:
            request: Called with the package and its LLM.

        Raises:
            UserError: vLLM is not installed, does not start, or fails.
        """
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                f"params.yaml: {self._parameter}",
                found="'vllm', which is not installed",
                expected="the packages of requirements-vllm.txt (requirements-vllm-cpu.txt on a CPU), in an "
                "environment of their own",
                do="run the pipeline in it (docs/training.md), or write transformers",
            )
        with _explain_errors(self._parameter):
            os.environ |= ENVIRONMENT | os.environ
            import vllm

            self._llm = self._llm or self._start(vllm)
            return request(vllm, self._llm)

    def _start(self, vllm: Any) -> Any:
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu:
            from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

            sizes = CPUAttentionBackend.get_supported_head_sizes()
            check_head_size(self._folder, sizes, parameter=self._parameter)
        return vllm.LLM(**self.arguments(precision=str(runtime.RUN_INFO["precision"]), on_cpu=on_cpu))

    def arguments(self, *, precision: str, on_cpu: bool) -> dict[str, Any]:
        """The arguments of vLLM's LLM.

        Args:
            precision: float32 or bf16.
            on_cpu: Whether it is vLLM's build for CPUs. Nothing is compiled then, which would take minutes.
        """
        fraction = memory_fraction(CPU_MEMORY if on_cpu else None)
        return {
            "model": str(self._folder),
            "max_model_len": self._max_length,
            "dtype": DTYPES[precision],
            "tensor_parallel_size": tensor_parallel(),
            "load_format": "safetensors",
            "trust_remote_code": False,
            **self._options,
            **({"gpu_memory_utilization": fraction} if fraction else {}),
            **({"enforce_eager": True, **self._cpu_options} if on_cpu else {}),
        }

    def __enter__(self) -> "VLLM":
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the memory of the model."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()


def vllm_versions(backend: str) -> dict[str, str]:
    """The installed version of vLLM, whose CPU build is `vllm-cpu`, by name; {} for another backend."""
    versions = {name: version for name in ("vllm", "vllm-cpu") if (version := installed(name))}
    return versions if backend == "vllm" else {}


def check_one_process(parameter: str) -> None:
    """Raises UserError if a launcher has started several processes: each of them would start vLLM."""
    if distributed.launched() or os.environ.get("APO_LAUNCH", "").strip():
        raise UserError(
            "APO_LAUNCH",
            found=f"a launcher, and {parameter}: vllm",
            expected="one process: vLLM lays the model over GPUs itself",
            do="unset APO_LAUNCH where a stage uses vLLM, and set APO_TENSOR_PARALLEL",
        )


def tensor_parallel() -> int:
    """Number of GPUs among which vLLM splits the model, from APO_TENSOR_PARALLEL."""
    expected = "a number of GPUs that divides the model's attention heads"
    return environment_int("APO_TENSOR_PARALLEL", 1, expected=expected)


def memory_fraction(default: float | None) -> float | None:
    """The fraction of the memory that vLLM uses, from APO_VLLM_MEMORY; None for vLLM's own default."""
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


def check_head_size(folder: Path, sizes: Sequence[int], *, parameter: str) -> None:
    """Raises UserError if the size of the attention heads of a model is not one of `sizes`."""
    config = read_json(folder / "config.json")
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    size = config.get("head_dim") or (hidden // heads if hidden and heads else sizes[0])
    if size not in sizes:
        raise UserError(
            str(folder / "config.json"),
            found=f"attention heads of size {size}",
            expected=f"one of {', '.join(map(str, sizes))}, which is what vLLM can do on a CPU",
            do=f"set {parameter}: transformers, or use a model with other heads (backbone.heads)",
        )


@contextmanager
def _explain_errors(parameter: str) -> Iterator[None]:
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
            f"{parameter}: transformers needs no engine",
        ) from None
