"""Where a stage runs: device, threads, memory. None of it changes what is computed.

APO_DEVICE        cpu, cuda or mps; by default a GPU where there is one
APO_THREADS       CPU threads of torch, 2 by default (another number changes the last bits of a result)
APO_TOKEN_BUDGET  tokens of a micro batch, padding included, 16384 by default
APO_SAMPLE_BUDGET tokens that sampling holds in its cache at most (a prompt that its samples share counts
                  once), 65536 by default
APO_CHECKPOINT_SECONDS  least time between two saved states of a training, 30 by default
"""

import os

import torch

from apo.errors import UserError

FIXED: dict[str, str | int | bool] = {}
"""What the last bits of a result depend on, once `set_up` has fixed it; the provenance records it."""


def token_budget() -> int:
    """Tokens of a micro batch, padding included."""
    return _whole_number("APO_TOKEN_BUDGET", 16384)


def sample_budget() -> int:
    """Tokens, prompts and responses together, that sampling works on at a time."""
    return _whole_number("APO_SAMPLE_BUDGET", 65536)


def checkpoint_seconds() -> float:
    """Least time between two saved states of a training, in seconds."""
    return _whole_number("APO_CHECKPOINT_SECONDS", 30, least=0)


def set_up() -> torch.device:
    """Fixes threads and kernels for repeatable results and returns the device."""
    threads = _whole_number("APO_THREADS", 2)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    default = "cuda" if torch.cuda.is_available() else "cpu"
    if default == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it finds no GPU
    name = os.environ.get("APO_DEVICE", default)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            "APO_DEVICE",
            found=f"{name!r} ({str(error).splitlines()[0][:80]})",
            expected="a device of this machine",
            do="unset it, or write APO_DEVICE=cpu",
        ) from None
    FIXED.update(device=device.type, threads=threads, deterministic_algorithms=True)
    return device


def _whole_number(name: str, default: int, *, least: int = 1) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit() or int(text) < least:
        raise UserError(name, found=repr(text), expected=f"a whole number of at least {least}", do="unset it")
    return int(text)
