"""Training engines: they compute the gradients of a step and update the weights, in one process or several.

Each process computes the losses of its share of a step's items; gradients and losses are summed. With
DistributedDataParallel each process holds the full model, with DeepSpeed (`deepspeed_engine`) a shard of it.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.nn.parallel import DistributedDataParallel

from apo.core.errors import UserError
from apo.model import runtime
from apo.training.checkpointing import Checkpoints, tensors_of

Terms = dict[str, Tensor]
"""The terms of a micro-batch: `loss`, already divided by the denominator of the step, and other metrics."""
LossOf = Callable[[list[int], list[int]], Terms]
"""A function (items of the step, items of the micro-batch) -> terms of the micro-batch."""


class MicroBatchLoss(nn.Module):
    """The loss of a micro-batch as a module, for DistributedDataParallel and DeepSpeed to wrap."""

    def __init__(self, model: nn.Module, loss_of: LossOf) -> None:
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, step: list[int], items: list[int], counts: bool) -> Terms:
        """The terms of the micro-batch. Only the loss has a gradient. If `counts` is False, all are 0."""
        terms = {n: t if n == "loss" else t.detach() for n, t in self.loss_of(step, items).items()}
        return terms if counts else {name: term * 0.0 for name, term in terms.items()}


@runtime_checkable
class Engine(Protocol):
    """The interface of a training engine."""

    where: dict[str, Any]  # the entry of the model card; empty for a single process

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Resumes from the last checkpoint; returns the curve so far."""

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Accumulates the gradients of micro-batches (items, whether they count); returns their terms."""

    def update(self, rate: float) -> None:
        """Takes an optimizer step with learning rate `rate`."""

    def state_dict(self) -> dict[str, Tensor]:
        """The state to save; every process calls it, and only rank 0 needs the result."""


class DDPEngine:
    """Every process holds the full model; DistributedDataParallel sums the gradients.

    Args:
        model: The model, on its device.
        loss_of: The loss of a micro-batch.
        optimizers: Each over its own parameters.
        max_grad_norm: Maximum global norm of the gradients.
        rank, world: Rank of this process and number of processes.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        max_grad_norm: float,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._model, self._optimizers, self._max_grad_norm = model, optimizers, max_grad_norm
        self._rank, self._world = rank, world
        self._module: Any = MicroBatchLoss(model, loss_of)
        self.where = {"engine": "ddp", "processes": world} if world > 1 else {}
        if world > 1:
            self._module = DistributedDataParallel(
                self._module, forward_sync_buffers=False, gradient_as_bucket_view=True
            )

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Resumes from the last checkpoint, which every process reads."""
        return checkpoints.restore(self._model, self._optimizers)

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Accumulates gradients; the processes synchronize in the last micro-batch."""
        micro_terms = []
        for number, (items, counts) in enumerate(micros, start=1):
            no_sync = isinstance(self._module, DistributedDataParallel) and number < len(micros)
            with self._module.no_sync() if no_sync else contextlib.nullcontext():
                terms = self._module(step, items, counts)
                # DistributedDataParallel averages gradients; the sum is needed.
                loss = terms["loss"] * self._world if self._world > 1 else terms["loss"]
                loss.backward()
            micro_terms.append({name: term.detach() for name, term in terms.items()})
        return micro_terms

    def update(self, rate: float) -> None:
        """Clips the gradients, steps, and resets the gradients."""
        nn.utils.clip_grad_norm_(self._model.parameters(), self._max_grad_norm)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """The full state in rank 0; empty in other processes."""
        return tensors_of(self._model, self._optimizers) if self._rank == 0 else {}


def init_process_group(device: torch.device) -> None:
    """Joins the process group of the launcher, once. Every collective operation has the same timeout."""
    if not dist.is_initialized():
        timeout = runtime.collective_timeout()
        for name in ("default_pg_timeout", "default_pg_nccl_timeout"):  # for groups that DeepSpeed creates
            setattr(distributed_c10d, name, timeout)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)


def barrier() -> None:
    """Waits for all processes; returns at once in a single process."""
    if dist.is_initialized():
        dist.barrier()


def check_same_state(checkpoints: Checkpoints, device: torch.device) -> None:
    """Checks that all processes read the same checkpoint.

    Raises:
        UserError: The checkpoints differ; every process raises it.
    """
    mark = torch.tensor(checkpoints.mark(), device=device)
    marks = [torch.empty_like(mark) for _ in range(dist.get_world_size())]
    dist.all_gather(marks, mark)
    ranks: dict[tuple[int, int], list[int]] = {}
    for rank, (step, digest) in enumerate(mark.tolist() for mark in marks):
        ranks.setdefault((step, digest), []).append(rank)
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
