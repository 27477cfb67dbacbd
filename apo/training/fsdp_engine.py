"""Training with FSDP2 of torch: weights, gradients and optimizer states are sharded.

APO_FSDP=1 chooses it for trainings on several processes.

Weights stay in float32, and layers compute in the precision of `apo.model.runtime.autocast`.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from apo.core import distributed
from apo.core.errors import UserError
from apo.training.checkpointing import restore_optimizers
from apo.training.engines import LossOf, ShardedEngine
from apo.training.settings import Optimizer


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


class FSDPEngine(ShardedEngine):
    """Training with FSDP2; gradients are summed over the processes in every micro-batch.

    Args:
        build_optimizers: Creates the optimizers of the sharded model.
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
        super().__init__(model, loss_of, [], max_grad_norm=max_grad_norm, device=device)
        self._build_optimizers = build_optimizers
        self.run_info = {"engine": "fsdp", "processes": self._world}

    def _shard(self) -> None:
        _shard_modules(self._module, self._device)
        self._plain.free_weights()
        self._optimizers = self._build_optimizers(self._model)

    def update(self, rate: float) -> Tensor | float:
        """The norm is sharded too."""
        norm: Any = super().update(rate)
        full: Tensor = norm.full_tensor()
        return full

    def _restore_optimizers(self, state: Any) -> None:
        restore_optimizers(state, self._model, self._optimizers)


def _shard_modules(module: nn.Module, device: torch.device) -> None:
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
