"""Checkpoints of a training, from which an interrupted training resumes.

A checkpoint holds tensors only (safetensors): weights, optimizer states and the random state.
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
from torch.distributed.tensor import DTensor, distribute_tensor

from apo.core import distributed
from apo.core.cache import disk_error, folder_of, locked
from apo.model import runtime

SHARE = 0.02  # maximum share of the training time spent on saving


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Trained parameters and buffers of a model by name; tied weights occur under each of their names.

    Frozen weights are omitted: a resumed training loads them from its start checkpoint.
    """
    parameters = model.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in parameters if not parameter.requires_grad}
    return {n: tensor for n, tensor in model.state_dict(keep_vars=True).items() if n not in frozen}


class Checkpoints:
    """The checkpoints of one training. Only the latest one is kept.

    Args:
        name, key: See `folder_of`.
    """

    def __init__(self, name: str, key: str) -> None:
        self.folder = folder_of(name, key)
        self._saved_at, self._save_seconds = time.monotonic(), 0.0

    @contextlib.contextmanager
    def lock(self) -> Iterator["Checkpoints"]:
        """Locks the training for this run; see `apo.core.cache.locked`."""
        with locked(self.folder):
            yield self

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Opens the last checkpoint for lazy reading; None if there is none."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            yield None
            return
        with safe_open(path, framework="pt") as state:
            yield state

    def curve(self) -> list[dict[str, Any]]:
        """The curve in the last checkpoint; empty if there is none."""
        with self.opened() as state:
            return curve_in(state)

    def state_id(self) -> tuple[int, int]:
        """Identifies the last checkpoint: its step, and a digest of the training and its curve."""
        curve = self.curve()
        content = json.dumps([self.folder.name, curve]).encode()
        return len(curve), int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")

    def restore(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
        """Loads the last checkpoint into model and optimizers; returns the curve so far."""
        with self.opened() as state:
            if state is None:
                return []
            restore_weights(state, model)
            restore_optimizers(state, model, optimizers)
            return curve_in(state)

    def should_save(self, *, is_last: bool) -> bool:
        """Whether to save now: after the last step, or if enough time has passed.

        The interval is at least APO_CHECKPOINT_SECONDS, and long enough that saving takes at most `SHARE`.
        """
        interval = max(runtime.checkpoint_seconds(), self._save_seconds / SHARE)
        return is_last or time.monotonic() - self._saved_at >= interval

    def save(
        self,
        curve: list[dict[str, Any]],
        tensors: Callable[[], dict[str, Tensor]],
        *,
        run_info: dict[str, Any],
    ) -> None:
        """Saves a checkpoint atomically. It is complete in every process when this method returns.

        Args:
            tensors: Gathers the state; every process calls it, and rank 0 writes it.
            run_info: See `Engine`.

        Raises:
            UserError: The file is not writable.
        """
        start = time.monotonic()
        state = tensors()
        if distributed.is_main_process():
            metadata = {"curve": json.dumps(curve)} | ({"run_info": json.dumps(run_info)} if run_info else {})
            temporary = self.folder / "state.tmp"
            try:
                save_file(state, temporary, metadata=metadata)
            except (OSError, SafetensorError) as error:
                temporary.unlink(missing_ok=True)
                raise disk_error(temporary, error) from None
            temporary.replace(self.folder / "state.safetensors")
        distributed.barrier()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - start if runtime.checkpoint_seconds() else 0.0


def curve_in(state: Any) -> list[dict[str, Any]]:
    """The curve of an opened checkpoint; empty for None."""
    rows: list[dict[str, Any]] = json.loads(state.metadata()["curve"]) if state else []
    return rows


def restore_weights(state: Any, model: nn.Module, *, copied: bool = True) -> None:
    """Loads the weights of an opened checkpoint, and its engine into `RUN_INFO`.

    Args:
        copied: Whether to copy the weights. If False, the weights of a model on the CPU stay memory-mapped.
    """
    for name, tensor in trained_state(model).items():
        saved = state.get_tensor(f"model/{name}")
        if copied:
            tensor.data.copy_(saved)
        else:
            tensor.data = saved
    runtime.RUN_INFO.update(json.loads(state.metadata().get("run_info", "{}")))


def restore_optimizers(state: Any, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Loads the optimizer states of an opened checkpoint, sharded as the parameters are."""
    keys = [key.split("/") for key in state.keys() if key.startswith("optimizer/")]  # noqa: SIM118
    for optimizer in optimizers:
        optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in model.named_parameters():
            fields = [key[2] for key in keys if key[1] == name and id(parameter) in optimized]
            for field in fields:
                value = state.get_tensor(f"optimizer/{name}/{field}").to(parameter.device)
                if isinstance(parameter, DTensor) and value.ndim:
                    placement = parameter.device_mesh, parameter.placements
                    value = distribute_tensor(value, *placement, src_data_rank=None)
                optimizer.state[parameter][field] = value


def clone_tied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, with tied ones cloned: safetensors rejects shared memory."""
    first = {tensor.data_ptr(): name for name, tensor in reversed(tensors.items())}
    return {n: tensor if first[tensor.data_ptr()] == n else tensor.clone() for n, tensor in tensors.items()}


def tensors_of(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The trained weights and their optimizer states, for saving.

    All processes gather what is sharded, one tensor at a time. Rank 0 keeps it; that of others is empty.
    """
    keep = distributed.is_main_process()
    whole: dict[int, Tensor] = {}  # tied weights once
    tensors: dict[str, Tensor] = {}
    for value in {id(value): value for value in trained_state(model).values()}.values():
        gathered = unsharded(value.detach())
        if keep:
            whole[id(value)] = gathered
    if keep:
        tensors = clone_tied({f"model/{n}": whole[id(value)] for n, value in trained_state(model).items()})
    for optimizer in optimizers:
        for name, parameter in model.named_parameters():
            for field, value in optimizer.state.get(parameter, {}).items():
                gathered = unsharded(torch.as_tensor(value))
                if keep:
                    tensors[f"optimizer/{name}/{field}"] = gathered
    return tensors


def unsharded(tensor: Tensor) -> Tensor:
    """The whole tensor on the CPU where it is sharded, gathered by all processes; else itself."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
