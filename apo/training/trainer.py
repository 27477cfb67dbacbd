"""The training loop that every training shares: optimizer steps over micro-batches, resumable."""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from apo.core import distributed
from apo.core.errors import UserError
from apo.model import runtime
from apo.training.checkpointing import Checkpoints
from apo.training.deepspeed_config import deepspeed_config, shards_weights
from apo.training.deepspeed_engine import DeepSpeedEngine
from apo.training.engines import (
    DDPEngine,
    Engine,
    LossOf,
    Terms,
    all_reduce_sum,
    barrier,
    check_same_state,
    init_process_group,
)
from apo.training.micro_batches import assign_micro_batches
from apo.training.muon import Muon
from apo.training.settings import Optimizer

BUCKET_STEPS = 32  # optimizer steps whose items are sorted by length together


def length_bucketed_batches(lengths: Sequence[int], settings: Optimizer, *, seed: int) -> list[list[int]]:
    """The items of every optimizer step of a training, a function of lengths and seed alone.

    Each pass shuffles the items, sorts stretches of `BUCKET_STEPS` steps by length, cuts them into batches of
    `settings.batch_size` and shuffles the batches of the stretch, so that a batch holds items of like length.
    """
    batches = []
    for epoch in range(settings.epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
        for start in range(0, len(order), BUCKET_STEPS * settings.batch_size):
            stretch = sorted(
                order[start : start + BUCKET_STEPS * settings.batch_size], key=lengths.__getitem__
            )
            cut = [stretch[i : i + settings.batch_size] for i in range(0, len(stretch), settings.batch_size)]
            batches += [cut[i] for i in torch.randperm(len(cut), generator=generator).tolist()]
    return batches


def learning_rate(step: int, steps: int, settings: Optimizer) -> float:
    """Linear warm-up from 0, then linear or cosine to 0, or constant."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    left = (steps - step) / max(1, steps - settings.warmup_steps)
    factor = {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "constant": 1.0}
    return settings.lr * factor[settings.schedule]


def warmup_metrics(steps: int, settings: Optimizer) -> dict[str, int]:
    """For the metrics of a training: `warmup_only`, 1 where every optimizer step is warm-up; else nothing."""
    return {"warmup_only": 1} if settings.warmup_steps >= steps else {}


def _log_start(desc: str, done: int, steps: int, settings: Optimizer) -> None:
    """Logs a learning rate that never leaves its warm-up, and where a training resumes."""
    if warmup_metrics(steps, settings):
        last = learning_rate(steps - 1, steps, settings)
        tqdm.write(
            f"{desc}: all {steps} optimizer steps are warm-up (warmup_steps: {settings.warmup_steps}); the "
            f"learning rate ends at {last:.3g} of {settings.lr:.3g}. Lower warmup_steps or train longer.",
            file=sys.stderr,
        )
    if done:
        tqdm.write(f"{desc}: resumes after step {done} of {steps}", file=sys.stderr)


def build_optimizers(model: nn.Module, settings: Optimizer) -> list[torch.optim.Optimizer]:
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
    inner = {n for n in matrices if id(parameters[n]) not in outer} if settings.optimizer == "muon" else set()

    def group(names: set[str], weight_decay: float) -> dict[str, Any]:
        return {"params": [p for n, p in parameters.items() if n in names], "weight_decay": weight_decay}

    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group(matrices - inner, settings.weight_decay), group(parameters.keys() - matrices, 0.0)],
            lr=settings.lr,
            betas=(0.9, settings.beta2),
            fused=True,
        )
    ]
    if inner:
        groups = [group(inner, settings.weight_decay)]
        optimizers.append(Muon(groups, lr=settings.lr))
    return optimizers


def training_loop(
    model: nn.Module,
    settings: Optimizer,
    *,
    batches: Sequence[list[int]],
    lengths: Sequence[int],
    loss_of: LossOf,
    desc: str,
    checkpoints: Checkpoints,
    eval_fn: Callable[[int], dict[str, float]] | None = None,
    eval_steps: int = 0,
) -> list[dict[str, float]]:
    """Trains, and resumes from the last checkpoint of the same training.

    Where the environment names a launcher, its workers train together (`apo.core.distributed`) and this
    process takes over the trained weights. It leaves the device to them.

    Args:
        model: On the CPU, trained in place and left on its device; after workers have trained it, on the CPU.
        batches: The items of every optimizer step.
        lengths: Tokens of every item.
        loss_of: For the items of a step and those of one of its micro-batches, the terms of the latter:
            `loss`, already divided by the denominator of the whole step, so that their sum is the loss of the
            step, and parts of other numbers, whose sums join the curve.
        desc: Name on the progress line.
        eval_fn: Called every `eval_steps` steps and after the last one; its numbers join the curve.

    Returns:
        The curve: a row with `step`, `loss`, `lr` and the other terms for every step.

    Raises:
        UserError: A loss is not finite; the workers can't train together, or read different states.
    """
    steps = len(batches)
    launches = distributed.launcher_requested() and len(checkpoints.curve()) < steps
    if launches:
        _train_in_workers(desc, checkpoints, steps)
    rank, world = distributed.rank_and_world_size(desc)
    _check_enough_items(world, len(lengths))
    engine = _build_engine(model, settings, loss_of, checkpoints, desc=desc)
    curve = engine.begin(checkpoints)
    if rank == 0 and not launches:
        _log_start(desc, len(curve), steps, settings)
    model.train()
    left, quiet = range(len(curve), steps), rank > 0 or None
    progress = tqdm(left, initial=len(curve), total=steps, desc=desc, disable=quiet)
    for step in progress:
        if world > 1:
            torch.manual_seed(step * world + rank)  # of dropout
        rate = learning_rate(step, steps, settings)
        terms = _gradients(engine, batches[step], lengths, rank=rank, world=world)
        engine.update(rate)
        due = checkpoints.due(last=step + 1 == steps)
        loss, others, due = _add_up(terms, due=due, rank=rank, world=world)
        _check_finite(loss, step=step, desc=desc)
        curve.append({"step": step + 1, "loss": loss, "lr": rate} | others)
        if eval_fn and eval_steps and ((step + 1) % eval_steps == 0 or step + 1 == steps):
            model.eval()
            curve[-1] |= eval_fn(step)
            model.train()
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if due:
            checkpoints.save(curve, engine.state_dict, where=engine.where, writes=rank == 0, wait=barrier)
    if distributed.is_worker_of(desc):
        raise distributed.WorkerDone
    model.eval()
    return curve


def _build_engine(
    model: nn.Module, settings: Optimizer, loss_of: LossOf, checkpoints: Checkpoints, *, desc: str
) -> Engine:
    """What computes the gradients in this process; the workers meet and agree on the saved state before."""
    device = runtime.device()
    rank, world = distributed.rank_and_world_size(desc)
    config = deepspeed_config(settings, device)
    if world > 1:
        init_process_group(device)
        check_same_state(checkpoints, device)
    if not (distributed.launcher_requested() or shards_weights(config)):
        model.to(device)
    optimizers = build_optimizers(model, settings) if not distributed.launcher_requested() else []
    if config and distributed.is_worker_of(desc):
        return DeepSpeedEngine(model, loss_of, optimizers[0], config, device=device, rank=rank, world=world)
    norm = settings.max_grad_norm
    return DDPEngine(model, loss_of, optimizers, max_grad_norm=norm, rank=rank, world=world)


def _gradients(
    engine: Engine, items: list[int], lengths: Sequence[int], *, rank: int, world: int
) -> list[Terms]:
    """Computes the gradients of this process's micro-batches of a step; the terms of each."""
    budget = runtime.token_budget()
    assigned = assign_micro_batches(
        [lengths[i] for i in items], world=world, budget="APO_TOKEN_BUDGET", tokens=budget
    )
    with runtime.explain_oom("APO_TOKEN_BUDGET", budget):
        micros = [([items[index] for index in micro.indices], micro.counts) for micro in assigned[rank]]
        return engine.gradients(items, micros)


def _add_up(terms: list[Terms], *, due: bool, rank: int, world: int) -> tuple[float, dict[str, float], bool]:
    """Loss and other terms of a step over the micro-batches of all workers; whether rank 0 is to save."""
    columns = {name: torch.stack([micro[name] for micro in terms]) for name in terms[0]}
    loss = sum(columns.pop("loss").tolist())  # the one time in a step that the host waits for the device
    others = {name: column.sum().item() for name, column in columns.items()}
    if world > 1:
        device = terms[0]["loss"].device
        sums = all_reduce_sum([loss, *others.values(), float(due and rank == 0)], device)
        loss, others, due = sums[0], dict(zip(others, sums[1:-1], strict=True)), sums[-1] > 0
    return loss, others, due


def _check_finite(loss: float, *, step: int, desc: str) -> None:
    if not math.isfinite(loss):
        raise UserError(
            desc,
            found=f"a loss of {loss} at step {step + 1}",
            expected="a finite loss",
            do="lower the learning rate of this stage in params.yaml",
        )


def _train_in_workers(desc: str, checkpoints: Checkpoints, steps: int) -> None:
    """Runs the workers of the launcher, which leave the trained state in the folder of the checkpoints."""
    distributed.run_workers(desc, checkpoints.folder)
    done = len(checkpoints.curve())
    if done < steps:
        raise UserError(
            "APO_LAUNCH",
            found=f"exit code 0 of the launcher, but only {done} of {steps} steps saved",
            expected="a launcher that runs this stage and waits for its end",
            do="write APO_LAUNCH='torchrun --standalone --nproc_per_node 2'",
        )


def _check_enough_items(world: int, items: int) -> None:
    if world > items:
        raise UserError(
            "APO_LAUNCH",
            found=f"{world} processes for {items} items",
            expected="no more processes than items to train on",
            do="start fewer, or unset it",
        )
