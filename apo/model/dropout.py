"""Dropout is off in every training, so that batches and numbers of processes change no result."""

from torch import nn


def switch_off_dropout(model: nn.Module) -> None:
    """Sets every rate of a model to 0, in place: of its layers, and those that it reads when called."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and ("dropout" in name or "layerdrop" in name):
                setattr(module, name, 0.0)
