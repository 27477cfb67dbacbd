"""Training with DeepSpeed ZeRO: optimizer states, gradients and (stage 3) weights are sharded."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from apo.core import distributed
from apo.training.checkpointing import Checkpoints, clone_tied, trained_state
from apo.training.engines import LossOf, ShardedEngine
from apo.training.sharding import shard_weights

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class DeepSpeedEngine(ShardedEngine):
    """Training with ZeRO stage 2 or 3; the processes communicate in every micro-batch.

    Args:
        optimizer: AdamW over the trained parameters.
        config: Configuration of `deepspeed_config`.
        item: Any short item, for a forward pass before the first step.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        optimizer: torch.optim.Optimizer,
        config: dict[str, Any],
        *,
        device: torch.device,
        item: int,
    ) -> None:
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        super().__init__(
            model, loss_of, [optimizer], max_grad_norm=config["gradient_clipping"], device=device
        )
        self._config, self._item = config, item
        # Stage 3 shards the weights too, not only optimizer states and gradients.
        self._shards_weights = config["zero_optimization"]["stage"] == 3
        self.run_info = {"engine": "deepspeed", "processes": self._world, "deepspeed": config}

    def resume(self, checkpoints: Checkpoints) -> list[dict[str, Any]]:
        """DeepSpeed is imported before the weights are loaded."""
        self._deepspeed = _init_deepspeed(self._device)
        return super().resume(checkpoints)

    def _shard(self) -> None:
        if self._shards_weights:
            shard_weights(self._model, self._config, self._device)
        else:
            self._model.to(self._device)
        [optimizer] = self._optimizers
        self._module, *_ = self._deepspeed.initialize(
            model=self._module, optimizer=optimizer, config=self._config
        )
        self._init_moments(optimizer)

    def _backward(self, loss: Tensor) -> None:
        """DeepSpeed averages gradients; the sum is needed."""
        self._module.backward(loss * self._world)

    def update(self, rate: float) -> Tensor | float:
        """DeepSpeed clips the gradients, steps, and resets the gradients."""
        for group in self._module.optimizer.param_groups:
            group["lr"] = rate
        self._module.step()
        norm: Tensor | float = self._module.get_global_grad_norm()
        return norm

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
            state["step"] = next(iter(self._optimizers[0].state.values()))["step"].clone()
            if distributed.is_main_process():
                weights[id(parameter)] = weight.to("cpu", copy=True)
                tensors |= {f"optimizer/{name}/{field}": value.cpu() for field, value in state.items()}
        if not distributed.is_main_process():
            return {}
        named = trained_state(self._model).items()
        return tensors | clone_tied({f"model/{n}": weights.get(id(v), v.detach()).cpu() for n, v in named})

    def finish(self, checkpoints: Checkpoints) -> None:
        """Frees what DeepSpeed holds, and what every sharded engine does."""
        self._module.destroy()
        super().finish(checkpoints)

    def _init_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Initializes the state of AdamW, which stage 2 of DeepSpeed reads when the first group has stepped.

        With stage 3 the groups are empty between steps, and AdamW does it.
        """
        for group in optimizer.param_groups:
            for flat in group["params"]:
                moments = {field: torch.zeros_like(flat) for field in MOMENTS}
                optimizer.state[flat] = {"step": torch.zeros((), device=flat.device), **moments}

    def _restore_optimizers(self, state: Any) -> None:
        """Loads this process's shard of the float32 weights and of AdamW's moments.

        DeepSpeed has moments to set after its first step: one with gradients and a learning rate of 0.
        """
        from deepspeed import utils

        self.gradients([self._item], [([self._item], False)])
        self.update(0.0)
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
        for adamw_state in self._optimizers[0].state.values():
            adamw_state["step"].copy_(step_count)

    def _local_shard(self, value: Tensor, parameter: Any) -> Tensor:
        """This process's shard of a tensor, flattened and padded with zeros as DeepSpeed does."""
        from deepspeed.utils import safe_get_local_fp32_param

        size = safe_get_local_fp32_param(parameter).numel()
        padded = torch.zeros(size * self._world, dtype=value.dtype)
        padded[: value.numel()] = value.flatten()
        return padded[distributed.rank() * size :][:size]


def _init_deepspeed(device: torch.device) -> Any:
    """Imports DeepSpeed, which uses the process group of `apo.core.distributed`."""
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if device.type == "cpu":
        # Not public, but nothing public keeps DeepSpeed from compiling its shared-memory collectives.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(auto_mpi_discovery=False)
    return deepspeed
