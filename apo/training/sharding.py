"""How the weights of a model are parted among processes (ZeRO's stage 3), none of which holds all."""

from typing import Any

import torch
from torch import nn


def shard_weights(model: nn.Module, config: dict[str, Any], device: torch.device) -> None:
    """Parts the weights one by one: each is copied to the device, cut, and all but this process's part freed.

    Float32 weights of a checkpoint or of a saved state, as long as nothing has changed them, are pages of its
    file in memory, which all processes of a machine share and which the system takes back when it needs room.
    So a process holds its part of the model, and one whole tensor at a time.

    Args:
        model: On the CPU; the same in every process.
        config: Of DeepSpeed.
        device: Of this process.
    """
    import deepspeed

    dtype = torch.bfloat16 if config["bf16"]["enabled"] else torch.float32
    first: Any = None
    for parameter in model.parameters():
        # On a CPU too: its pages would be written to by what DeepSpeed sends around, and be a copy then.
        parameter.data = parameter.data.to(device, dtype, copy=True)
        if first is None:
            first = parameter
            deepspeed.zero.Init(nn.ParameterList([first]), config_dict_or_path=config, dtype=dtype)
        else:
            first.convert_to_zero_parameters([parameter])
