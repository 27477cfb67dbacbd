"""The saved state of a training, from which a killed one resumes.

It holds tensors only (safetensors): weights, the state of the optimizers, the state of the random generator.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from apo.core.cache import disk_error, folder_of, locked, remove_older
from apo.model import runtime

SHARE = 0.02  # the part of a training's time that saving may take


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a model by name, two names for what is tied, without frozen weights.

    No step changes these: a training that goes on has them from the checkpoint that it started from.
    """
    parameters = model.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in parameters if not parameter.requires_grad}
    return {n: tensor for n, tensor in model.state_dict(keep_vars=True).items() if n not in frozen}


class Checkpoints:
    """The state of one training, saved now and then and found again by the same training.

    Args:
        name, key: See `folder_of`.
    """

    def __init__(self, name: str, key: str) -> None:
        self.folder = folder_of(name, key)
        self._saved_at, self._cost = time.monotonic(), 0.0

    @contextlib.contextmanager
    def exclusive(self) -> Iterator["Checkpoints"]:
        """Holds the training for this process; see `held`."""
        with locked(self.folder):
            yield self

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """The last saved state, from which tensors are read one by one; None at the start."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            yield None
            return
        with safe_open(path, framework="pt") as state:
            yield state

    def curve(self) -> list[dict[str, Any]]:
        """The curve of the last saved state, empty at the start."""
        with self.opened() as state:
            return curve_in(state)

    def mark(self) -> tuple[int, int]:
        """What tells the last saved state from others: its step, and a digest of computation and curve."""
        curve = self.curve()
        content = json.dumps([self.folder.name, curve]).encode()
        return len(curve), int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")

    def restore(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
        """Puts the last saved state into model and optimizers; the curve so far, empty at the start."""
        with self.opened() as state:
            if state is None:
                return []
            restore_weights(state, model)
            keys = [key.split("/") for key in state.keys() if key.startswith("optimizer/")]  # noqa: SIM118
            for optimizer in optimizers:
                owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
                for name, parameter in model.named_parameters():
                    parts = [key[2] for key in keys if key[1] == name and id(parameter) in owned]
                    for part in parts:
                        value = state.get_tensor(f"optimizer/{name}/{part}").to(parameter.device)
                        optimizer.state[parameter][part] = value
            return curve_in(state)

    def due(self, *, last: bool) -> bool:
        """Whether enough time has passed, so that at most a `SHARE` of it goes to saving; and at the end."""
        least = max(runtime.checkpoint_seconds(), self._cost / SHARE)
        return last or time.monotonic() - self._saved_at >= least

    def save(
        self,
        curve: list[dict[str, Any]],
        tensors: Callable[[], dict[str, Tensor]],
        *,
        where: dict[str, Any],
        writes: bool,
        wait: Callable[[], None],
    ) -> None:
        """Saves a state. When it comes back the state is in place, in whichever process.

        Args:
            curve: So far.
            tensors: Gathers the state; of several processes, all do it.
            where: On what it was computed, for the provenance; empty for one process.
            writes: Whether this is the process that writes it.
            wait: Waits for all processes.
        """
        began = time.monotonic()
        found = tensors()
        if writes:
            metadata = {"curve": json.dumps(curve)} | ({"where": json.dumps(where)} if where else {})
            temporary = self.folder / "state.tmp"
            try:
                save_file(found | {"rng": torch.get_rng_state()}, temporary, metadata=metadata)
            except (OSError, SafetensorError) as error:
                temporary.unlink(missing_ok=True)
                raise disk_error(temporary, error) from None
            temporary.replace(self.folder / "state.safetensors")
        wait()
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began if runtime.checkpoint_seconds() else 0.0

    def remove_older(self) -> None:
        """Removes the states of other trainings of the same stage; see `remove_older`."""
        remove_older(self.folder)


def curve_in(state: Any) -> list[dict[str, Any]]:
    """The curve of an opened state; empty for None."""
    rows: list[dict[str, Any]] = json.loads(state.metadata()["curve"]) if state else []
    return rows


def restore_weights(state: Any, model: nn.Module, *, copied: bool = True) -> None:
    """Puts weights and random state of an opened state in place; the provenance learns where it ran.

    Args:
        copied: Else the weights of a model on the CPU are left in the file, and are read where they are used.
    """
    for name, tensor in trained_state(model).items():
        saved = state.get_tensor(f"model/{name}")
        if copied:
            tensor.data.copy_(saved)
        else:
            tensor.data = saved
    torch.set_rng_state(state.get_tensor("rng"))
    runtime.RUN_INFO.update(json.loads(state.metadata().get("where", "{}")))


def apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, a copy for the second name of what is tied: a file holds each by itself."""
    first = {tensor.data_ptr(): name for name, tensor in reversed(tensors.items())}
    return {n: tensor if first[tensor.data_ptr()] == n else tensor.clone() for n, tensor in tensors.items()}


def tensors_of(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The trained weights, and what the optimizers keep for each of them; only to be written."""
    tensors = apart({f"model/{name}": value.detach() for name, value in trained_state(model).items()})
    for optimizer in optimizers:
        for name, parameter in model.named_parameters():
            for part, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{part}"] = torch.as_tensor(value)
    return tensors
