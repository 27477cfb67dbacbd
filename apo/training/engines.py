"""What computes the gradients of a step and takes it: this process alone, or together with others.

Several processes each compute the losses of their share of the step's items; gradients and losses are summed.
With DistributedDataParallel each holds the whole model; with DeepSpeed (`deepspeed_engine`) a part of it.
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
"""`loss`, the part of a step's loss that a micro-batch adds, and parts of other numbers for the curve."""
LossOf = Callable[[list[int], list[int]], Terms]
"""The terms of some items of a step: all items of the step, those of the micro-batch."""


class MicroBatchLoss(nn.Module):
    """The loss of a micro-batch as a module, which is what DistributedDataParallel and DeepSpeed wrap."""

    def __init__(self, model: nn.Module, loss_of: LossOf) -> None:
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, step: list[int], items: list[int], counts: bool) -> Terms:
        """The terms; only the loss has a gradient. Where the items don't count, all are 0."""
        terms = {n: t if n == "loss" else t.detach() for n, t in self.loss_of(step, items).items()}
        return terms if counts else {name: term * 0.0 for name, term in terms.items()}


@runtime_checkable
class Engine(Protocol):
    """One way to train."""

    where: dict[str, Any]  # what the provenance says of it

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Goes on from the last saved state; the curve so far."""

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Adds up the gradients of the step's micro-batches (items, whether they count); their terms."""

    def update(self, rate: float) -> None:
        """Takes the optimizer step."""

    def state_dict(self) -> dict[str, Tensor]:
        """The state to save, in the process that writes it; every process calls it."""


class DDPEngine:
    """Every process holds the whole model; DistributedDataParallel sums the gradients of several."""

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
        self._model, self._optimisers, self._max_grad_norm = model, optimizers, max_grad_norm
        self._rank, self._world = rank, world
        self._module: Any = MicroBatchLoss(model, loss_of)
        self.where = {"engine": "ddp", "processes": world} if world > 1 else {}
        if world > 1:
            self._module = DistributedDataParallel(
                self._module, forward_sync_buffers=False, gradient_as_bucket_view=True
            )

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Every process reads the whole state."""
        return checkpoints.restore(self._model, self._optimisers)

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Processes meet in the last micro-batch."""
        found = []
        for number, (items, counts) in enumerate(micros, start=1):
            early = isinstance(self._module, DistributedDataParallel) and number < len(micros)
            with self._module.no_sync() if early else contextlib.nullcontext():
                terms = self._module(step, items, counts)
                (
                    terms["loss"] * self._world if self._world > 1 else terms["loss"]
                ).backward()  # means to sums
            found.append({name: term.detach() for name, term in terms.items()})
        return found

    def update(self, rate: float) -> None:
        """Clips, steps, and forgets the gradients."""
        nn.utils.clip_grad_norm_(self._model.parameters(), self._max_grad_norm)
        for optimizer in self._optimisers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """The first process has all of it."""
        return tensors_of(self._model, self._optimisers) if self._rank == 0 else {}


def init_process_group(device: torch.device) -> None:
    """Joins the other processes that the launcher started, once. Every collective has the same time limit."""
    if not dist.is_initialized():
        limit = runtime.collective_timeout()
        for name in ("default_pg_timeout", "default_pg_nccl_timeout"):  # of the groups that DeepSpeed makes
            setattr(distributed_c10d, name, limit)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=limit)


def barrier() -> None:
    """Comes back when every process is here; at once in one that works alone."""
    if dist.is_initialized():
        dist.barrier()


def check_same_state(checkpoints: Checkpoints, device: torch.device) -> None:
    """Compares the saved state that each process has read.

    Raises:
        UserError: They are not the same one, in every process.
    """
    own = torch.tensor(checkpoints.mark(), device=device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    ranks: dict[tuple[int, int], list[int]] = {}
    for rank, (step, digest) in enumerate(row.tolist() for row in found):
        ranks.setdefault((step, digest), []).append(rank)
    if len(ranks) > 1:
        raise UserError(
            str(checkpoints.folder),
            found="different saved states: "
            + ", ".join(
                f"step {step} (digest {digest:x}) by rank {' '.join(map(str, those))}"
                for (step, digest), those in ranks.items()
            ),
            expected="the same state in all ranks",
            do="look whether all machines see the same disk and run the same code with the same environment; "
            "`dvc repro` then goes on from the last checkpoint",
        )


def all_reduce_sum(values: Sequence[float], device: torch.device) -> list[float]:
    """The sums of numbers over all processes."""
    vector = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(vector)
    found: list[float] = vector.tolist()
    return found
