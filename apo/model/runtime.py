"""The environment of a stage: device, threads, memory. It changes results only by rounding.

docs/where.md lists the environment variables with their defaults.
"""

import contextlib
import ctypes
import datetime
import os
from collections.abc import Iterator
from typing import Any

import torch

from apo.core import distributed
from apo.core.environment import environment_int
from apo.core.errors import UserError
from apo.model.versions import warn_of_other_versions

RUN_INFO: dict[str, str | int | bool] = {}
"""Facts that the rounding of results depends on; `set_up` fills it and the model card records it."""


def numerics() -> dict[str, str]:
    """Settings that results depend on besides their inputs: nothing is resumed in another precision."""
    return {"precision": str(RUN_INFO.get("precision", "float32"))}


def token_budget() -> int:
    """Tokens of a micro-batch, padding included. On a CPU the default fits its caches."""
    return environment_int("APO_TOKEN_BUDGET", 1024 if RUN_INFO.get("device", "cpu") == "cpu" else 16384)


def sample_budget() -> int:
    """Tokens in the KV cache of sampling at most; a prompt that samples share counts once."""
    return environment_int("APO_SAMPLE_BUDGET", 65536)


def autocast(device: torch.device) -> torch.autocast:
    """The autocast context with the precision of this device."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision(device) == "bf16")


def enable_gradient_checkpointing(model: Any) -> None:
    """Enables gradient checkpointing if APO_GRADIENT_CHECKPOINTING is set."""
    if environment_int("APO_GRADIENT_CHECKPOINTING", 0, least=0):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


@contextlib.contextmanager
def explain_oom(name: str, budget: int) -> Iterator[None]:
    """Turns an out-of-memory error into a UserError that names the budget to lower.

    Args:
        name: The environment variable of the budget.
        budget: Its value in tokens.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "allocate memory" not in str(
            error
        ):
            raise
        raise UserError(
            name,
            found=f"no memory for a micro-batch of {budget} tokens",
            expected="a micro-batch that fits",
            do=f"set {name}={max(1, budget // 2)}; the results stay the same, up to rounding",
        ) from None


def checkpoint_seconds() -> float:
    """Minimum time between two checkpoints of a training, in seconds."""
    return environment_int("APO_CHECKPOINT_SECONDS", 30, least=0)


def collective_timeout() -> datetime.timedelta:
    """Maximum time that a process waits for the others in a collective operation."""
    return datetime.timedelta(seconds=environment_int("APO_COLLECTIVE_TIMEOUT", 1800))


def set_up() -> torch.device:
    """Sets threads and deterministic kernels, joins the processes of a launcher, and returns the device."""
    warn_of_other_versions()
    # Of a saved configuration of accelerate: transformers would leave new weights out on all ranks but one.
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    threads = environment_int("APO_THREADS", 2)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    default = "cuda" if torch.cuda.is_available() else "cpu"
    if default == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise DeepSpeed warns that there is no GPU
    name = os.environ.get("APO_DEVICE", default)
    if name == "cuda" and distributed.launched():
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # one GPU per process
    try:
        device = torch.device(name)
        if device.type == "mps":
            raise RuntimeError("it has no float64")
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            "APO_DEVICE",
            found=f"{name!r} ({str(error).splitlines()[0][:80]})",
            expected="cpu, or cuda on a machine that has it",
            do="unset it, or write APO_DEVICE=cpu; APO_LAUNCH starts at most one process per GPU",
        ) from None
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", collective_timeout())
    RUN_INFO.update(
        device=device.type, precision=precision(device), threads=threads, deterministic_algorithms=True
    )
    return device


def _keep_freed_memory() -> None:
    """Makes glibc reuse freed blocks of up to 32 MB instead of returning them to the operating system.

    Otherwise each micro-batch allocates its activations page by page. Settings of the allocator in the
    environment (`MALLOC_...`) take precedence. Other C libraries have no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt and not any(name.startswith("MALLOC_") for name in os.environ):
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**30)
        mallopt(mmap_threshold, 2**25)


def device() -> torch.device:
    """The device that `set_up` selected; the CPU before that."""
    return torch.device(str(RUN_INFO.get("device", "cpu")))


def precision(device: torch.device) -> str:
    """The precision of a model's layers on this device: `float32` or `bf16`."""
    name = os.environ.get("APO_PRECISION", "bf16" if device.type == "cuda" else "float32")
    if name not in ("float32", "bf16"):
        raise UserError("APO_PRECISION", found=repr(name), expected="float32 or bf16", do="unset it")
    return name
