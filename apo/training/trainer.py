"""The training loop of all trainings: optimizer steps over micro-batches, resumable and distributed."""

import math
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from apo.core import distributed
from apo.core.errors import UserError
from apo.model import runtime
from apo.model.dropout import switch_off_dropout
from apo.training import trackers
from apo.training.checkpointing import Checkpoints
from apo.training.deepspeed_config import deepspeed_config
from apo.training.deepspeed_engine import DeepSpeedEngine
from apo.training.engines import (
    DDPEngine,
    Engine,
    LossOf,
    Terms,
    all_reduce_sum,
    check_same_state,
)
from apo.training.fsdp_engine import FSDPEngine, fsdp_requested
from apo.training.micro_batches import assign_micro_batches
from apo.training.muon import Muon
from apo.training.settings import Optimizer

BUCKET_STEPS = 32  # optimizer steps per bucket of items that are sorted by length


def length_bucketed_batches(
    lengths: Sequence[int], settings: Optimizer, *, seed: int, kinds: Sequence[bool] | None = None
) -> list[list[int]]:
    """The items of every optimizer step of a training, as a function of lengths, kinds and seed.

    Each epoch shuffles the items and divides them into buckets of `BUCKET_STEPS` steps. It sorts each bucket
    by length, splits it into batches of `settings.batch_size` and shuffles these batches. So the items of a
    batch have similar lengths.

    Args:
        lengths: Tokens of each item.
        kinds: The kind of each item. Each is sorted by itself, and every batch has its share of both, as a
            random one has on average: a loss that is a mean over a batch gives each item the weight that it
            is meant to have, also where one kind is longer than the other.
    """
    kinds = kinds or [False] * len(lengths)
    batches = []
    for epoch in range(settings.epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
        size, bucket_size = settings.batch_size, BUCKET_STEPS * settings.batch_size
        for start in range(0, len(order), bucket_size):
            bucket = _sorted_by_kind(order[start : start + bucket_size], lengths, kinds)
            bucket_batches = [bucket[i : i + size] for i in range(0, len(bucket), size)]
            shuffled = torch.randperm(len(bucket_batches), generator=generator).tolist()
            batches += [bucket_batches[i] for i in shuffled]
    return batches


def _sorted_by_kind(items: Sequence[int], lengths: Sequence[int], kinds: Sequence[bool]) -> list[int]:
    """The items of each kind by length, the kinds merged in proportion."""
    by_kind: dict[bool, list[int]] = {}
    for item in sorted(items, key=lengths.__getitem__):
        by_kind.setdefault(kinds[item], []).append(item)
    place = {item: (i + 0.5) / len(same) for same in by_kind.values() for i, item in enumerate(same)}
    return sorted(place, key=place.__getitem__)


def learning_rate(step: int, steps: int, settings: Optimizer) -> float:
    """Linear warm-up from 0, then linear or cosine decay to 0, or constant."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    remaining = (steps - step) / max(1, steps - settings.warmup_steps)
    factor = {"linear": remaining, "cosine": 0.5 - 0.5 * math.cos(math.pi * remaining), "constant": 1.0}
    return settings.lr * factor[settings.schedule]


def warmup_metrics(steps: int, settings: Optimizer) -> dict[str, int]:
    """The metric `warmup_only`, 1 if every optimizer step is warm-up; otherwise no metric."""
    return {"warmup_only": 1} if settings.warmup_steps >= steps else {}


def _log_start(desc: str, done: int, steps: int, settings: Optimizer) -> None:
    """Logs a training that ends within its warm-up, and the step after which a training resumes."""
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
    """AdamW for all parameters, or Muon for the inner matrices and AdamW for the rest.

    Weight decay applies to matrices only. Muon scales its step to the learning rate of AdamW. Embeddings and
    heads are not inner matrices.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    outer_ids = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    outer_ids |= {
        id(m.weight) for name, m in model.named_modules() if name.rpartition(".")[2] in ("lm_head", "score")
    }
    matrices = {n for n, p in parameters.items() if p.ndim == 2}
    is_muon = settings.optimizer == "muon"
    inner = {n for n in matrices if is_muon and id(parameters[n]) not in outer_ids}

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
    """Trains a model, and resumes from the last checkpoint of the same training.

    All processes of a launcher train together (`apo.core.distributed`), and each has the trained model.

    Args:
        model: The model, on the CPU. It is trained in place, without dropout. It is moved to its device, but
            with DeepSpeed it is on the CPU again after the training.
        batches, lengths: The items of every optimizer step, and the tokens of every item.
        loss_of: See `LossOf`. The curve has the sums of its terms over the micro-batches of a step.
        desc: Name of the training, in the progress bar and messages.
        eval_fn: Called every `eval_steps` steps and after the last step; its metrics are added to the curve.

    Returns:
        The curve: a row with `step`, `loss`, `lr` and the other terms for every step.

    Raises:
        UserError: A loss or gradient is not finite, or the processes read different checkpoints.
    """
    steps, names = len(batches), trackers.requested()
    switch_off_dropout(model)
    engine = _build_engine(model, settings, loss_of, lengths)
    check_same_state(checkpoints)
    curve = engine.resume(checkpoints)
    _log_start(desc, len(curve), steps, settings)
    model.train()
    remaining = range(len(curve), steps)
    progress = tqdm(remaining, initial=len(curve), total=steps, desc=desc, disable=None)
    with trackers.live(names, desc, settings, remaining, state=checkpoints.folder) as log:
        for step in progress:
            start = time.perf_counter()
            rate = learning_rate(step, steps, settings)
            terms = _accumulate_gradients(engine, batches[step], lengths, step=step)
            gradient_norm = engine.update(rate)
            loss, others, due = _sum_terms(terms, due=checkpoints.should_save(is_last=step + 1 == steps))
            seconds = time.perf_counter() - start
            _check_finite({"loss": loss, "gradient norm": float(gradient_norm)}, step=step, desc=desc)
            curve.append({"step": step + 1, "loss": loss, "lr": rate} | others)
            curve[-1] |= _evaluate(model, eval_fn, step, steps=steps, every=eval_steps)
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            log(curve[-1], sum(lengths[item] for item in batches[step]), seconds)
            if due:
                checkpoints.save(curve, engine.state_dict, run_info=engine.run_info)
    if remaining:
        runtime.RUN_INFO.update(engine.run_info)
    engine.finish(checkpoints)
    model.eval()
    return curve


def _evaluate(
    model: nn.Module, eval_fn: Callable[[int], dict[str, float]] | None, step: int, *, steps: int, every: int
) -> dict[str, float]:
    """The metrics of `eval_fn` after the steps at which they are due; none after the others."""
    if not (eval_fn and every and ((step + 1) % every == 0 or step + 1 == steps)):
        return {}
    model.eval()
    metrics = eval_fn(step)
    model.train()
    return metrics


def _build_engine(model: nn.Module, settings: Optimizer, loss_of: LossOf, lengths: Sequence[int]) -> Engine:
    """Creates the engine of this process."""
    device, world = runtime.device(), distributed.world_size()
    if world > len(lengths):
        raise UserError(
            "APO_LAUNCH",
            found=f"{world} processes for {len(lengths)} items",
            expected="no more processes than items to train on",
            do="start fewer processes, or unset it",
        )
    if config := deepspeed_config(settings, device):
        shortest = min(range(len(lengths)), key=lengths.__getitem__)
        [optimizer] = build_optimizers(model, settings)
        return DeepSpeedEngine(model, loss_of, optimizer, config, device=device, item=shortest)
    norm = settings.max_grad_norm
    if fsdp_requested(settings):
        build = partial(build_optimizers, settings=settings)
        return FSDPEngine(model, loss_of, build, max_grad_norm=norm, device=device)
    optimizers = build_optimizers(model.to(device), settings)
    return DDPEngine(model, loss_of, optimizers, max_grad_norm=norm, device=device)


def _accumulate_gradients(
    engine: Engine, items: list[int], lengths: Sequence[int], *, step: int
) -> list[Terms]:
    """Accumulates the gradients of this process's micro-batches of a step; returns the terms of each."""
    rank, world = distributed.rank(), distributed.world_size()
    torch.manual_seed(zlib.crc32(f"{step} {rank} {items}".encode()))  # for what else a model draws
    budget = runtime.token_budget()
    assigned = assign_micro_batches(
        [lengths[i] for i in items], world=world, budget="APO_TOKEN_BUDGET", tokens=budget
    )
    with runtime.explain_oom("APO_TOKEN_BUDGET", budget):
        micros = [([items[index] for index in micro.indices], micro.is_real) for micro in assigned[rank]]
        return engine.gradients(items, micros)


def _sum_terms(terms: list[Terms], *, due: bool) -> tuple[float, dict[str, float], bool]:
    """Loss and other terms of a step, summed over all processes, and whether rank 0 saves a checkpoint."""
    columns = {name: torch.stack([micro[name] for micro in terms]) for name in terms[0]}
    loss = sum(columns.pop("loss").tolist())  # the only device synchronization of a step
    others = {name: column.sum().item() for name, column in columns.items()}
    if distributed.world_size() > 1:
        saves = float(due and distributed.is_main_process())
        sums = all_reduce_sum([loss, *others.values(), saves], terms[0]["loss"].device)
        loss, others, due = sums[0], dict(zip(others, sums[1:-1], strict=True)), sums[-1] > 0
    return loss, others, due


def _check_finite(values: Mapping[str, float], *, step: int, desc: str) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise UserError(
                desc,
                found=f"a {name} of {value} at step {step + 1}",
                expected=f"a finite {name}",
                do="lower the learning rate of this stage in params.yaml",
            )
