"""The training loop that every training shares: optimiser steps over micro batches, resumable."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from apo import machine
from apo.config import Optimiser
from apo.errors import UserError
from apo.resume.states import Checkpoints

STRETCH = 32  # optimiser steps whose items are sorted by length together


def batches_of(lengths: Sequence[int], settings: Optimiser, *, seed: int) -> list[list[int]]:
    """The items of every optimiser step of a training, a function of lengths and seed alone.

    Each pass shuffles the items, sorts stretches of `STRETCH` steps by length, cuts them into batches of
    `settings.batch_size` and shuffles the batches of the stretch, so that a batch holds items of like length.
    """
    batches = []
    for epoch in range(settings.epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
        for start in range(0, len(order), STRETCH * settings.batch_size):
            stretch = sorted(order[start : start + STRETCH * settings.batch_size], key=lengths.__getitem__)
            cut = [stretch[i : i + settings.batch_size] for i in range(0, len(stretch), settings.batch_size)]
            batches += [cut[i] for i in torch.randperm(len(cut), generator=generator).tolist()]
    return batches


def learning_rate(step: int, steps: int, settings: Optimiser) -> float:
    """Linear warm-up from 0, then linear or cosine to 0, or constant."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    left = (steps - step) / max(1, steps - settings.warmup_steps)
    factor = {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "constant": 1.0}
    return settings.lr * factor[settings.schedule]


def optimisers_for(model: nn.Module, settings: Optimiser) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the model and AdamW for the rest.

    Weight decay is on matrices only. Muon's step is scaled so that the learning rate means what it means
    for AdamW.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    outer = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    outer |= {
        id(m.weight) for name, m in model.named_modules() if name.rpartition(".")[2] in ("lm_head", "score")
    }
    matrices = {n for n, p in parameters.items() if p.ndim == 2}
    inner = {n for n in matrices if id(parameters[n]) not in outer} if settings.optimiser == "muon" else set()

    def group(names: set[str], weight_decay: float) -> dict[str, Any]:
        return {"params": [p for n, p in parameters.items() if n in names], "weight_decay": weight_decay}

    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group(matrices - inner, settings.weight_decay), group(parameters.keys() - matrices, 0.0)],
            lr=settings.lr,
            betas=(0.9, settings.beta2),
            fused=True,
        )
    ]
    if inner:
        groups = [group(inner, settings.weight_decay)]
        optimisers.append(torch.optim.Muon(groups, lr=settings.lr, adjust_lr_fn="match_rms_adamw"))
    return optimisers


def optimise(
    model: nn.Module,
    settings: Optimiser,
    *,
    steps: int,
    micro_losses: Callable[[int], Iterable[Tensor]],
    what: str,
    checkpoints: Checkpoints,
    look: Callable[[int], dict[str, float]] | None = None,
    look_every: int = 0,
) -> list[dict[str, float]]:
    """Trains and goes on from the last checkpoint of the same training.

    Args:
        model: On its device; trained in place.
        micro_losses: For a step, the losses of its micro batches, each already divided by the
            denominator of the whole step, so that their sum is the loss of the step.
        what: Name on the progress line.
        look: Called every `look_every` steps and after the last one; its numbers join the curve.

    Returns:
        The curve: a row with `step`, `loss`, `lr` for every step.

    Raises:
        UserError: A loss is not finite.
    """
    optimisers = optimisers_for(model, settings)
    curve = checkpoints.restore(model, optimisers)
    if curve:
        tqdm.write(f"{what}: goes on after step {len(curve)} of {steps}", file=sys.stderr)
    model.train()
    progress = tqdm(range(len(curve), steps), initial=len(curve), total=steps, desc=what, disable=None)
    for step in progress:
        rate = learning_rate(step, steps, settings)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        losses = []
        with machine.memory_for("APO_TOKEN_BUDGET", machine.token_budget()):
            for micro in micro_losses(step):
                micro.backward()
                losses.append(micro.detach())
        nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        loss = sum(torch.stack(losses).tolist())  # the one time in a step that the host waits for the device
        if not math.isfinite(loss):
            raise UserError(
                what,
                found=f"a loss of {loss} at step {step + 1}",
                expected="a finite loss",
                do="lower the learning rate of this stage in params.yaml",
            )
        row: dict[str, Any] = {"step": step + 1, "loss": loss, "lr": rate}
        if look and look_every and ((step + 1) % look_every == 0 or step + 1 == steps):
            model.eval()
            row |= look(step)
            model.train()
        curve.append(row)
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        checkpoints.save_when_due(model, optimisers, curve, last=step + 1 == steps)
    model.eval()
    return curve
