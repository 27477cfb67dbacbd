"""Muon (Jordan et al., 2024) in float32: it orthogonalizes the momentum of a matrix before each step.

`torch.optim.Muon` orthogonalizes in bfloat16 on every device. A CPU without bfloat16 instructions computes
such a product up to eighty times slower than in float32.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

STEPS, COEFFICIENTS, EPS = 5, (3.4445, -4.7750, 2.0315), 1e-7  # the values of torch.optim.Muon


def orthogonalize(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n rows columns"]:
    """Moves the singular values of each matrix close to 1, by five Newton-Schulz steps of degree five."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=EPS)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """The update of `torch.optim.Muon(nesterov=True, adjust_lr_fn="match_rms_adamw")`, in float32.

    Matrices of one shape are orthogonalized in one batch.

    Args:
        params: Matrices, or groups of them.
        lr: Learning rate. It is scaled by 0.2 * sqrt(longer side), so that it means what it means for AdamW.
        weight_decay: Decoupled, as in AdamW.
        momentum: Decay of the running mean of the gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates the parameters that have gradients; `closure` must be None."""
        assert closure is None, "a closure is not supported"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                directions = orthogonalize(torch.stack([self._update_momentum(p, group) for p in parameters]))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, direction in zip(parameters, directions.unbind(), strict=True):
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-rate)

    def _update_momentum(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Updates the running mean of a gradient; returns its Nesterov look-ahead."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(gradient, 1.0 - group["momentum"])
        return gradient.lerp(mean, group["momentum"])
