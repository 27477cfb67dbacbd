"""Sharding of the weights of a model among processes (ZeRO stage 3)."""

from typing import Any

import torch
from torch import nn


def shard_weights(model: nn.Module, config: dict[str, Any], device: torch.device) -> None:
    """Shards the weights one at a time: copies a weight to the device and keeps only this process's shard.

    Unchanged float32 weights of a checkpoint are memory-mapped. All processes of a machine share these pages,
    and the operating system can reclaim them. So a process allocates its shard of the model and one full
    tensor at a time.

    Args:
        model: The model, on the CPU, equal in every process.
        config: The DeepSpeed configuration.
        device: The device of this process.
    """
    import deepspeed

    dtype = torch.bfloat16 if config["bf16"]["enabled"] else torch.float32
    first: Any = None
    for parameter in model.parameters():
        # Copy on a CPU too: the collectives of DeepSpeed would write to the memory-mapped pages.
        parameter.data = parameter.data.to(device, dtype, copy=True)
        if first is None:
            first = parameter
            deepspeed.zero.Init(nn.ParameterList([first]), config_dict_or_path=config, dtype=dtype)
        else:
            first.convert_to_zero_parameters([parameter])
