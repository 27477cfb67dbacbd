"""Training with DeepSpeed ZeRO: optimizer states, gradients and (stage 3) weights are sharded.

The checkpoint is unsharded, as that of a single process, and contains no pickles. So a training resumes with
any number of processes.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from apo.training.checkpointing import Checkpoints, clone_tied, curve_in, restore_weights, trained_state
from apo.training.deepspeed_config import shards_weights
from apo.training.engines import LossOf, MicroBatchLoss, Terms, init_process_group
from apo.training.sharding import shard_weights

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class DeepSpeedEngine:
    """An engine (see `apo.training.engines`) in which every process holds a shard of the training state.

    Args:
        model: The model, on `device`; with stage 3 on the CPU.
        loss_of: The loss of a micro-batch.
        optimizer: AdamW over the trained parameters.
        config: Configuration of `deepspeed_config`.
        device: The device of this process.
        rank, world: Rank of this process and number of processes.
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
        self._shards_weights = shards_weights(config)
        self.where = {"engine": "deepspeed", "processes": world, "deepspeed": config}

    def begin(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """Resumes from the last checkpoint. Weights are loaded before sharding, optimizer states after it."""
        deepspeed = _init_deepspeed(self._device)
        with checkpoints.opened() as state:
            if state:
                restore_weights(state, self._model, copied=not self._shards_weights)
            if self._shards_weights:
                shard_weights(self._model, self._config, self._device)
            self._engine, *_ = deepspeed.initialize(
                model=self._module, optimizer=self._optimizer, config=self._config
            )
            self._init_moments()
            if state:
                self._restore_optimizer(state)
            return curve_in(state)

    def gradients(self, step: list[int], micros: Sequence[tuple[list[int], bool]]) -> list[Terms]:
        """Accumulates gradients; the processes communicate in every micro-batch."""
        micro_terms = []
        for items, counts in micros:
            terms = self._engine(step, items, counts)
            self._engine.backward(terms["loss"] * self._world)  # DeepSpeed averages; the sum is needed
            micro_terms.append({name: term.detach() for name, term in terms.items()})
        return micro_terms

    def update(self, rate: float) -> None:
        """Clips the gradients, steps, and resets the gradients."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()

    def state_dict(self) -> dict[str, Tensor]:
        """The unsharded state, gathered parameter by parameter; empty in all processes but rank 0."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        tensors: dict[str, Tensor] = {}
        weights: dict[int, Tensor] = {}
        for name, parameter in self._model.named_parameters():
            if not parameter.requires_grad:
                continue
            weight = safe_get_full_fp32_param(parameter)
            state = {field: safe_get_full_optimizer_state(parameter, field) for field in MOMENTS}
            state["step"] = self._step_count()
            if self._rank == 0:
                weights[id(parameter)] = weight.to("cpu", copy=True)
                tensors |= {f"optimizer/{name}/{field}": value.cpu() for field, value in state.items()}
        if self._rank:
            return {}
        named = trained_state(self._model).items()
        return tensors | clone_tied({f"model/{n}": weights.get(id(v), v.detach()).cpu() for n, v in named})

    def _init_moments(self) -> None:
        """Initializes the state of AdamW. Stage 2 of DeepSpeed reads it once, before AdamW's first step."""
        for flat in self._flat_weights():
            moments = {field: torch.zeros_like(flat) for field in MOMENTS}
            self._optimizer_state()[flat] = {"step": torch.zeros((), device=flat.device), **moments}
        if not self._shards_weights:
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _restore_optimizer(self, state: Any) -> None:
        """Loads this process's shard of the float32 weights and of AdamW's moments."""
        from deepspeed import utils

        for name, parameter in self._model.named_parameters():
            if not parameter.requires_grad:
                continue
            weight = state.get_tensor(f"model/{name}")
            moments = {field: state.get_tensor(f"optimizer/{name}/{field}") for field in MOMENTS}
            if self._shards_weights:
                utils.safe_set_local_fp32_param(parameter, self._local_shard(weight, parameter))
                for field, value in moments.items():
                    shard = self._local_shard(value, parameter)
                    utils.safe_set_local_optimizer_state(parameter, shard, field)
            else:
                utils.safe_set_full_fp32_param(parameter, weight)
                for field, value in moments.items():
                    utils.safe_set_full_optimizer_state(parameter, value, field)
            step_count = state.get_tensor(f"optimizer/{name}/step")
        for flat in self._flat_weights():
            self._optimizer_state()[flat]["step"].copy_(step_count)

    def _local_shard(self, value: Tensor, parameter: Any) -> Tensor:
        """This process's shard of a tensor, flattened and padded with zeros as DeepSpeed does."""
        size = parameter.partition_numel()
        padded = torch.zeros(size * self._world, dtype=value.dtype)
        padded[: value.numel()] = value.flatten()
        return padded[self._rank * size : (self._rank + 1) * size]

    def _flat_weights(self) -> list[Tensor]:
        """The float32 weights that AdamW updates in this process, one flat tensor per parameter group."""
        optimizer = self._engine.optimizer
        name = "fp32_partitioned_groups_flat" if self._shards_weights else "single_partition_of_fp32_groups"
        flat_weights: list[Tensor] = getattr(optimizer, name)
        return flat_weights

    def _optimizer_state(self) -> Any:
        return self._engine.optimizer.optimizer.state

    def _step_count(self) -> Tensor:
        step_count: Tensor = self._optimizer_state()[self._flat_weights()[0]]["step"]
        return step_count.clone()


def _init_deepspeed(device: torch.device) -> Any:
    """Imports DeepSpeed and joins the process group."""
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    init_process_group(device)
    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # needs a compiler
    deepspeed.init_distributed(auto_mpi_discovery=False)
    return deepspeed
