"""Training engines: they compute the gradients of a step and update the weights, in one process or several.

Each process computes the losses of its share of a step's items; gradients and losses are summed. With
DistributedDataParallel each process holds the full model, with DeepSpeed (`deepspeed_engine`) or FSDP
(`fsdp_engine`) a shard of it.
"""

import contextlib
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apo.core import distributed
from apo.core.errors import UserError
from apo.training.checkpointing import Checkpoints, curve_in, restore_weights, tensors_of
from apo.training.sharding import PlainModel

Terms = dict[str, Tensor]
"""The terms of a micro-batch: `loss`, already divided by the denominator of the step, and other metrics."""
LossOf = Callable[[list[int], list[int]], Terms]
"""A function (items of the step, items of the micro-batch) -> terms of the micro-batch."""


class MicroBatchLoss(nn.Module):
    """The loss of a micro-batch as a module, for DistributedDataParallel and DeepSpeed to wrap."""

    def __init__(self, model: nn.Module, loss_of: LossOf) -> None:
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, step: list[int], items: list[int], is_real: bool) -> Terms:
        """The terms of the micro-batch. Only the loss has a gradient. If `is_real` is False, all are 0."""
        terms = {n: t if n == "loss" else t.detach() for n, t in self.loss_of(step, items).items()}
        return terms if is_real else {name: term * 0.0 for name, term in terms.items()}


class Engine(ABC):
    """The gradients of a step, the optimizer step, and the state that a checkpoint holds.

    Args:
        model: The model, trained in place; a sharded engine needs it on the CPU.
        optimizers: Each over its own parameters.
        max_grad_norm: Maximum global norm of the gradients.

    Attributes:
        run_info: The engine and its processes, for the model card; empty for a single process.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        max_grad_norm: float,
        device: torch.device,
    ) -> None:
        self._model, self._optimizers, self._max_grad_norm = model, list(optimizers), max_grad_norm
        self._world, self._device = distributed.world_size(), device
        self._module: Any = MicroBatchLoss(model, loss_of)
        self.run_info: dict[str, Any] = {}

    @abstractmethod
    def resume(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Resumes from the last checkpoint; returns the curve so far."""

    @abstractmethod
    def finish(self, checkpoints: Checkpoints) -> None:
        """Leaves the plain trained model in every process, after the last checkpoint."""

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Accumulates the gradients of micro-batches (items, whether they are real); returns their terms."""
        micro_terms = []
        for number, (items, is_real) in enumerate(micros, start=1):
            with self._communication(is_last=number == len(micros)):
                terms = self._module(step, items, is_real)
                self._backward(terms["loss"])
            micro_terms.append({name: term.detach() for name, term in terms.items()})
        return micro_terms

    def update(self, rate: float) -> Tensor | float:
        """Clips the gradients, steps with the learning rate `rate`, and resets the gradients.

        Returns:
            The norm of all gradients before clipping, the same in every process.
        """
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._max_grad_norm)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """The unsharded state to save; every process calls it, and only rank 0 has a result."""
        return tensors_of(self._model, self._optimizers)

    def _communication(self, *, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """The context of a micro-batch; by default the processes communicate in every micro-batch."""
        return contextlib.nullcontext()

    def _backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss. They are summed over the processes, not averaged."""
        loss.backward()


class DDPEngine(Engine):
    """Every process holds the full model; DistributedDataParallel sums the gradients."""

    def resume(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Several processes wrap the model; then every process reads the checkpoint."""
        if self._world > 1:
            self.run_info = {"engine": "ddp", "processes": self._world}
            self._module = DistributedDataParallel(
                self._module, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        return checkpoints.restore(self._model, self._optimizers)

    def state_dict(self) -> dict[str, Tensor]:
        """The state in rank 0; empty in other processes."""
        return super().state_dict() if distributed.is_main_process() else {}

    def finish(self, checkpoints: Checkpoints) -> None:
        """Does nothing: the model is plain."""

    def _communication(self, *, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """The processes synchronize in the last micro-batch."""
        if self._world == 1 or is_last:
            return contextlib.nullcontext()
        no_sync: contextlib.AbstractContextManager[Any] = self._module.no_sync()
        return no_sync

    def _backward(self, loss: Tensor) -> None:
        """DistributedDataParallel averages gradients; the sum is needed."""
        super()._backward(loss * self._world if self._world > 1 else loss)


class ShardedEngine(Engine):
    """Every process holds a shard of the training state.

    The checkpoint is unsharded, as that of a single process, and contains no pickles. So a training resumes
    with any number of processes and any engine.
    """

    @abstractmethod
    def _shard(self) -> None:
        """Shards the model and prepares its optimizers."""

    @abstractmethod
    def _restore_optimizers(self, state: Any) -> None:
        """Loads this process's shard of the optimizer states of an opened checkpoint."""

    def resume(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Weights are loaded before sharding, optimizer states after it."""
        with checkpoints.opened() as state:
            if state:
                restore_weights(state, self._model, copied=False)
            self._plain = PlainModel(self._model)
            self._shard()
            if state:
                self._restore_optimizers(state)
            return curve_in(state)

    def finish(self, checkpoints: Checkpoints) -> None:
        """Frees the shards and loads the float32 weights of the last checkpoint into the plain model."""
        self._plain.restore()
        self._optimizers.clear()
        del self._plain, self._module
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        with checkpoints.opened() as state:
            restore_weights(state, self._model, copied=False)


def check_same_state(checkpoints: Checkpoints) -> None:
    """Checks that all processes read the same checkpoint.

    Raises:
        UserError: The checkpoints differ; every process raises it.
    """
    ranks: dict[tuple[int, int], list[int]] = {}
    for rank, state_id in enumerate(distributed.all_gather(checkpoints.state_id())):
        ranks.setdefault(state_id, []).append(rank)
    if len(ranks) > 1:
        raise UserError(
            str(checkpoints.folder),
            found="different saved states: "
            + ", ".join(
                f"step {step} (digest {digest:x}) by rank {' '.join(map(str, readers))}"
                for (step, digest), readers in ranks.items()
            ),
            expected="the same state in all ranks",
            do="check that all machines share the disk and run the same code in the same environment; "
            "`dvc repro` then resumes from the last checkpoint",
        )


def all_reduce_sum(values: Sequence[float], device: torch.device) -> list[float]:
    """Sums each value over all processes."""
    vector = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(vector)
    sums: list[float] = vector.tolist()
    return sums
