"""Training with DeepSpeed's ZeRO: optimizer states, gradients and (stage 3) weights parted among processes.

The saved state is that of one process, whole and without pickles: a training goes on under any number of
processes, and what it ends with is a checkpoint like any other.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from apo.training.checkpointing import Checkpoints, apart, curve_in, restore_weights, trained_state
from apo.training.deepspeed_config import shards_weights
from apo.training.engines import LossOf, MicroBatchLoss, Terms, init_process_group
from apo.training.sharding import shard_weights

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class DeepSpeedEngine:
    """An engine (see `apo.training.engines`) in which every process holds a part of the model.

    Args:
        model: On its device; under stage 3 still on the CPU.
        device: Where it is trained.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        optimizer: torch.optim.Optimizer,
        config: dict[str, Any],
        *,
        device: torch.device,
        rank: int,
        world: int,
    ) -> None:
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        self._model, self._module, self._optimizer = model, MicroBatchLoss(model, loss_of), optimizer
        self._config, self._device, self._rank, self._world = config, device, rank, world
        self._parts_weights = shards_weights(config)
        self.where = {"engine": "deepspeed", "processes": world, "deepspeed": config}

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Weights are read before they are parted, the optimizer's states after."""
        deepspeed = _deepspeed(self._device)
        with checkpoints.opened() as state:
            if state:
                restore_weights(state, self._model, copied=not self._parts_weights)
            if self._parts_weights:
                shard_weights(self._model, self._config, self._device)
            self._engine, *_ = deepspeed.initialize(
                model=self._module, optimizer=self._optimizer, config=self._config
            )
            self._begin_moments()
            if state:
                self._restore_optimizer(state)
            return curve_in(state)

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """All processes meet in every micro-batch."""
        found = []
        for items, counts in micros:
            terms = self._engine(step, items, counts)
            self._engine.backward(terms["loss"] * self._world)  # DeepSpeed makes means of what are sums
            found.append({name: term.detach() for name, term in terms.items()})
        return found

    def update(self, rate: float) -> None:
        """Clips, steps, and forgets the gradients."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()

    def state_dict(self) -> dict[str, Tensor]:
        """The state that one process would have, gathered parameter by parameter; empty but for the first."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        tensors: dict[str, Tensor] = {}
        whole: dict[int, Tensor] = {}
        for name, parameter in self._model.named_parameters():
            if not parameter.requires_grad:
                continue
            weight = safe_get_full_fp32_param(parameter)
            parts = {part: safe_get_full_optimizer_state(parameter, part) for part in MOMENTS}
            parts["step"] = self._steps()
            if self._rank == 0:
                whole[id(parameter)] = weight.to("cpu", copy=True)
                tensors |= {f"optimizer/{name}/{part}": value.cpu() for part, value in parts.items()}
        if self._rank:
            return {}
        named = trained_state(self._model).items()
        return tensors | apart({f"model/{n}": whole.get(id(v), v.detach()).cpu() for n, v in named})

    def _begin_moments(self) -> None:
        """What AdamW makes at its first step. At stage 2 DeepSpeed would look for it too early, and once."""
        for flat in self._flats():
            moments = {part: torch.zeros_like(flat) for part in MOMENTS}
            self._states()[flat] = {"step": torch.zeros((), device=flat.device), **moments}
        if not self._parts_weights:
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _restore_optimizer(self, state: Any) -> None:
        """Puts float32 weights and moments of AdamW where DeepSpeed keeps this process's part of them."""
        from deepspeed import utils

        for name, parameter in self._model.named_parameters():
            if not parameter.requires_grad:
                continue
            weight = state.get_tensor(f"model/{name}")
            moments = {part: state.get_tensor(f"optimizer/{name}/{part}") for part in MOMENTS}
            if self._parts_weights:
                utils.safe_set_local_fp32_param(parameter, self._own(weight, parameter))
                for part, value in moments.items():
                    utils.safe_set_local_optimizer_state(parameter, self._own(value, parameter), part)
            else:
                utils.safe_set_full_fp32_param(parameter, weight)
                for part, value in moments.items():
                    utils.safe_set_full_optimizer_state(parameter, value, part)
            steps = state.get_tensor(f"optimizer/{name}/step")
        for flat in self._flats():
            self._states()[flat]["step"].copy_(steps)

    def _own(self, value: Tensor, parameter: Any) -> Tensor:
        """This process's part of a tensor laid out flat, which DeepSpeed fills up with zeros."""
        size = parameter.partition_numel()
        filled = torch.zeros(size * self._world, dtype=value.dtype)
        filled[: value.numel()] = value.flatten()
        return filled[self._rank * size : (self._rank + 1) * size]

    def _flats(self) -> list[Tensor]:
        """The float32 weights that AdamW steps in this process, one tensor a group."""
        optimizer = self._engine.optimizer
        name = "fp32_partitioned_groups_flat" if self._parts_weights else "single_partition_of_fp32_groups"
        flats: list[Tensor] = getattr(optimizer, name)
        return flats

    def _states(self) -> Any:
        return self._engine.optimizer.optimizer.state

    def _steps(self) -> Tensor:
        steps: Tensor = self._states()[self._flats()[0]]["step"]
        return steps.clone()


def _deepspeed(device: torch.device) -> Any:
    """The library, with its processes met."""
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    init_process_group(device)
    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # would be compiled first
    deepspeed.init_distributed(auto_mpi_discovery=False)
    return deepspeed
