"""Where a stage runs: device, threads, memory. None of it changes what is computed.

APO_DEVICE        cpu, cuda or mps; by default a GPU where there is one
APO_THREADS       CPU threads of torch, 2 by default (another number changes the last bits of a result)
APO_TOKEN_BUDGET  tokens of a micro-batch, padding included; by default 1024, what the caches of a CPU hold,
                  and 16384 on a GPU
APO_SAMPLE_BUDGET tokens that sampling holds in its cache at most (a prompt that its samples share counts
                  once), 65536 by default
APO_PRECISION     float32 or bf16; by default bf16 on a GPU (weights, rewards and losses stay in float32)
APO_GRADIENT_CHECKPOINTING  1 computes the layers again in the backward pass and keeps less, 0 by default
APO_DEEPSPEED     a configuration of DeepSpeed such as configs/zero3.json, for trainings on several processes;
                  APO_LAUNCH starts these, see apo/core/distributed.py
APO_CHECKPOINT_SECONDS  least time between two saved states of a training, 30 by default
APO_COLLECTIVE_TIMEOUT  seconds that a process waits for the others at most, 1800 by default; one that died
                  is seen by the launcher within a second
"""

import contextlib
import ctypes
import datetime
import os
from collections.abc import Iterator
from typing import Any

import torch

from apo.core import distributed
from apo.core.errors import UserError
from apo.model.versions import warn_of_other_versions

RUN_INFO: dict[str, str | int | bool] = {}
"""What the last bits of a result depend on, once `set_up` has fixed it; the provenance records it."""


def token_budget() -> int:
    """Tokens of a micro-batch, padding included."""
    return _whole_number("APO_TOKEN_BUDGET", 1024 if RUN_INFO.get("device", "cpu") == "cpu" else 16384)


def sample_budget() -> int:
    """Tokens, prompts and responses together, that sampling works on at a time."""
    return _whole_number("APO_SAMPLE_BUDGET", 65536)


def autocast(device: torch.device) -> torch.autocast:
    """What the layers of a model are computed in on this device."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision(device) == "bf16")


def enable_gradient_checkpointing(model: Any) -> None:
    """Switches gradient checkpointing on where the environment asks for it."""
    if _whole_number("APO_GRADIENT_CHECKPOINTING", 0, least=0):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


@contextlib.contextmanager
def explain_oom(name: str, budget: int) -> Iterator[None]:
    """Tells which budget was too large when the memory does not hold a micro-batch."""
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
    """Least time between two saved states of a training, in seconds."""
    return _whole_number("APO_CHECKPOINT_SECONDS", 30, least=0)


def collective_timeout() -> datetime.timedelta:
    """How long a process waits for the others in a collective operation."""
    return datetime.timedelta(seconds=_whole_number("APO_COLLECTIVE_TIMEOUT", 1800))


def set_up() -> torch.device:
    """Fixes threads and kernels for repeatable results and returns the device."""
    warn_of_other_versions()
    threads = _whole_number("APO_THREADS", 2)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    default = "cuda" if torch.cuda.is_available() else "cpu"
    if default == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it finds no GPU
    name = os.environ.get("APO_DEVICE", default)
    if name == "cuda" and distributed.is_worker():
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each rank has a GPU of its own
    try:
        device = torch.device(name)
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            "APO_DEVICE",
            found=f"{name!r} ({str(error).splitlines()[0][:80]})",
            expected="a device of this machine",
            do="unset it, or write APO_DEVICE=cpu; APO_LAUNCH starts at most one process a GPU",
        ) from None
    RUN_INFO.update(
        device=device.type, precision=precision(device), threads=threads, deterministic_algorithms=True
    )
    return device


def _keep_freed_memory() -> None:
    """Lets glibc hand out freed blocks of up to 32 MB again, not give them back to the system.

    Else each micro-batch takes its activations from the system page by page. What the environment says of
    the allocator (`MALLOC_...`) stays as it is; another libc has no such function.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt and not any(name.startswith("MALLOC_") for name in os.environ):
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**30)
        mallopt(mmap_threshold, 2**25)


def device() -> torch.device:
    """The device that `set_up` found; the CPU before."""
    return torch.device(str(RUN_INFO.get("device", "cpu")))


def precision(device: torch.device) -> str:
    """`float32` or `bf16`: what layers are computed in on this device."""
    name = os.environ.get("APO_PRECISION", "bf16" if device.type == "cuda" else "float32")
    if name not in ("float32", "bf16"):
        raise UserError("APO_PRECISION", found=repr(name), expected="float32 or bf16", do="unset it")
    return name


def _whole_number(name: str, default: int, *, least: int = 1) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit() or int(text) < least:
        raise UserError(name, found=repr(text), expected=f"a whole number of at least {least}", do="unset it")
    return int(text)
