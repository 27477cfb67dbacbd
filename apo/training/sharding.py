"""Sharding of the weights of a model among processes (ZeRO stage 3), and the plain model afterwards."""

import copy
from typing import Any

import torch
from torch import nn

LINEAR = nn.functional.linear  # stage 3 of DeepSpeed replaces it for the whole process


def shard_weights(model: nn.Module, config: dict[str, Any], device: torch.device) -> None:
    """Shards the weights one at a time: copies a weight to the device and keeps only this process's shard.

    Unchanged float32 weights of a checkpoint are memory-mapped. All processes of a machine share these pages,
    and the operating system can reclaim them. So a process allocates its shard of the model and one full
    tensor at a time.

    Args:
        model: The model, on the CPU, equal in every process.
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


class PlainModel:
    """A model as it was before DeepSpeed or FSDP, without its trained weights.

    Both add hooks and attributes to modules, replace their parameters and classes, and cast their buffers.

    Args:
        model: The model, on the CPU.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {module: (type(module), _copied(vars(module))) for module in model.modules()}
        empty = torch.empty(0)
        self._weights = {p: empty if p.requires_grad else p.detach().cpu() for p in model.parameters()}

    def free_weights(self) -> None:
        """Frees the whole weights where an engine has put its own parameters in their place, as FSDP does."""
        for parameter in self._weights:
            parameter.data = torch.empty(0)

    def restore(self) -> None:
        """Restores the modules in place, with new parameters on the CPU; trained ones are empty."""
        new = {old: nn.Parameter(weight, old.requires_grad) for old, weight in self._weights.items()}
        for module, (kind, attributes) in self._modules.items():
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
            for name, old in list(module.named_parameters(recurse=False, remove_duplicate=False)):
                setattr(module, name, new[old])
        nn.functional.linear = LINEAR


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a module, with copies of the dictionaries that hold hooks, parameters and buffers."""
    return {n: copy.copy(value) if isinstance(value, dict) else value for n, value in attributes.items()}
