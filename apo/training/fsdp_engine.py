"""Training with FSDP2 of torch: weights, gradients and optimizer states are sharded.

APO_FSDP  1 shards trainings on several processes

The checkpoint is unsharded, as that of a single process. So a training resumes with any number of processes
and any engine. Weights stay in float32, and layers compute in the precision of `apo.model.runtime.autocast`.
"""

import gc
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from apo.core import distributed
from apo.core.errors import UserError
from apo.training.checkpointing import Checkpoints, curve_in, restore_optimizers, restore_weights, tensors_of
from apo.training.engines import LossOf, MicroBatchLoss, Terms
from apo.training.settings import Optimizer
from apo.training.sharding import PlainModel


def fsdp_requested(settings: Optimizer) -> bool:
    """Whether APO_FSDP is set.

    Raises:
        UserError: There is no launcher, another engine, or an optimizer that needs unsharded matrices.
    """
    if os.environ.get("APO_FSDP", "") in ("", "0"):
        return False
    if os.environ["APO_FSDP"] != "1":
        raise UserError("APO_FSDP", found=repr(os.environ["APO_FSDP"]), expected="0 or 1", do="unset it")
    if not distributed.launched():
        do = "set APO_LAUNCH='torchrun --standalone --nproc_per_node 2' or more, or unset it"
        raise UserError("APO_FSDP", found="no APO_LAUNCH", expected="a launcher beside it", do=do)
    if os.environ.get("APO_DEEPSPEED"):
        found, expected = "APO_DEEPSPEED beside it", "only one engine"
        raise UserError("APO_FSDP", found=found, expected=expected, do="unset one of them")
    if settings.optimizer != "adamw":
        raise UserError(
            "APO_FSDP",
            found=f"the optimizer {settings.optimizer}, which needs unsharded matrices",
            expected="adamw: FSDP shards the matrices among processes",
            do="unset APO_FSDP for this stage (APO_LAUNCH alone works), or change its optimizer",
        )
    return True


class FSDPEngine:
    """An engine (see `apo.training.engines`) in which every process holds a shard of the training state.

    Args:
        model: The model, on the CPU.
        loss_of: The loss of a micro-batch.
        build_optimizers: Creates the optimizers of a model.
        max_grad_norm: Maximum global norm of the gradients.
        device: The device of this process.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        build_optimizers: Callable[[nn.Module], list[torch.optim.Optimizer]],
        *,
        max_grad_norm: float,
        device: torch.device,
    ) -> None:
        self._model, self._module = model, MicroBatchLoss(model, loss_of)
        self._build_optimizers, self._max_grad_norm, self._device = build_optimizers, max_grad_norm, device
        self._optimizers: list[torch.optim.Optimizer] = []
        self.where = {"engine": "fsdp", "processes": distributed.world_size()}

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Resumes from the last checkpoint. Weights are loaded before sharding, optimizer states after it."""
        with checkpoints.opened() as state:
            if state:
                restore_weights(state, self._model, copied=False)
            self._plain = PlainModel(self._model)
            _shard(self._module, self._device)
            self._optimizers = self._build_optimizers(self._model)
            if state:
                restore_optimizers(state, self._model, self._optimizers)
            return curve_in(state)

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Accumulates gradients; the processes communicate in every micro-batch."""
        micro_terms = []
        for items, counts in micros:
            terms = self._module(step, items, counts)
            terms["loss"].backward()
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
        """The unsharded state, gathered tensor by tensor; empty in all processes but rank 0."""
        return tensors_of(self._model, self._optimizers)

    def finish(self, checkpoints: Checkpoints) -> None:
        """Frees the shards and loads the weights of the last checkpoint into the plain model."""
        self._plain.restore()
        self._optimizers.clear()
        del self._plain, self._module
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        with checkpoints.opened() as state:
            restore_weights(state, self._model, copied=False)


def _shard(module: nn.Module, device: torch.device) -> None:
    """Shards each module with parameters of its own; tied ones belong to the whole module.

    Layers are not sharded as a whole: the forward passes of `apo.model` call their submodules. Gradients are
    summed over the processes, not averaged.
    """
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    own = {part: list(part.parameters(recurse=False)) for part in module.modules()}
    owners = Counter(id(parameter) for parameters in own.values() for parameter in parameters)
    leaves = [part for part, weights in own.items() if weights and all(owners[id(w)] == 1 for w in weights)]
    for part in (*leaves, module):
        sharded = fully_shard(part, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
