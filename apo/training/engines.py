"""Training engines: they compute the gradients of a step and update the weights, in one process or several.

Each process computes the losses of its share of a step's items; gradients and losses are summed. With
DistributedDataParallel each process holds the full model, with DeepSpeed (`deepspeed_engine`) or FSDP
(`fsdp_engine`) a shard of it.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apo.core import distributed
from apo.core.errors import UserError
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

    def finish(self, checkpoints: Checkpoints) -> None:
        """Leaves the plain trained model in every process, after the last checkpoint."""


class DDPEngine:
    """Every process holds the full model; DistributedDataParallel sums the gradients.

    Args:
        model: The model, on its device.
        loss_of: The loss of a micro-batch.
        optimizers: Each over its own parameters.
        max_grad_norm: Maximum global norm of the gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        max_grad_norm: float,
    ) -> None:
        self._model, self._optimizers, self._max_grad_norm = model, optimizers, max_grad_norm
        self._world = distributed.world_size()
        self._module: Any = MicroBatchLoss(model, loss_of)
        self.where = {"engine": "ddp", "processes": self._world} if self._world > 1 else {}
        if self._world > 1:
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
        return tensors_of(self._model, self._optimizers) if distributed.is_main_process() else {}

    def finish(self, checkpoints: Checkpoints) -> None:
        """Does nothing: the model is plain."""


def check_same_state(checkpoints: Checkpoints) -> None:
    """Checks that all processes read the same checkpoint.

    Raises:
        UserError: The checkpoints differ; every process raises it.
    """
    ranks: dict[tuple[int, int], list[int]] = {}
    for rank, mark in enumerate(distributed.all_gather(checkpoints.mark())):
        ranks.setdefault(mark, []).append(rank)
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
