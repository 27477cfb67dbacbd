"""apo/training/trainer.py: which items a step has, at which learning rate, and what a step does."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaConfig

from apo.core import distributed
from apo.core.errors import UserError
from apo.training.checkpointing import Checkpoints
from apo.training.engines import check_same_state
from apo.training.trainer import (
    BUCKET_STEPS,
    build_optimizers,
    learning_rate,
    length_bucketed_batches,
    training_loop,
    warmup_metrics,
)
from tests.helpers import tiny_models as tiny


@pytest.fixture
def new_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Checkpoints]:
    """Each call is another training."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    numbers = iter(range(1000))

    def new() -> Checkpoints:
        checkpoints = Checkpoints("test", f"key{next(numbers)}")
        checkpoints.folder.mkdir(parents=True)
        return checkpoints

    return new


# Batches


@given(
    lengths=st.lists(st.integers(1, 300), max_size=200),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_item_once_an_epoch(lengths: list[int], batch_size: int, epochs: int, seed: int) -> None:
    settings = tiny.optimizer(batch_size=batch_size, epochs=epochs)
    batches = length_bucketed_batches(lengths, settings, seed=seed)
    steps = math.ceil(len(lengths) / batch_size)
    assert len(batches) == epochs * steps
    for epoch in range(epochs):
        part = batches[epoch * steps : (epoch + 1) * steps]
        assert Counter(i for batch in part for i in batch) == Counter(range(len(lengths)))
        assert all(len(batch) <= batch_size for batch in part)
        assert sum(len(batch) < batch_size for batch in part) <= 1
    assert batches == length_bucketed_batches(lengths, settings, seed=seed)


def test_seed_and_epoch_give_other_orders() -> None:
    lengths = list(range(40))
    settings = tiny.optimizer(batch_size=4, epochs=2)
    first, other = (length_bucketed_batches(lengths, settings, seed=seed) for seed in (1, 2))
    assert first != other
    assert first[:10] != first[10:]
    assert first[:10] == length_bucketed_batches(lengths, tiny.optimizer(batch_size=4), seed=1)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    length_bucketed_batches(list(range(40)), tiny.optimizer(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_holds_items_of_like_length_and_batches_are_shuffled() -> None:
    lengths = [i % 64 for i in range(4 * BUCKET_STEPS * 8)]
    batches = length_bucketed_batches(lengths, tiny.optimizer(batch_size=8), seed=1)
    spreads = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert sum(spreads) / len(spreads) < 5  # 8 of 64 lengths drawn at random spread by about 50
    first = [lengths[batch[0]] for batch in batches[:BUCKET_STEPS]]
    assert first != sorted(first)


# Learning rate: by hand


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Warm-up of 4: 1/4, 2/4, 3/4, 4/4 of the peak. Then 4 steps are left: linear 4/4, 3/4, 2/4, 1/4,
        # so that the step after the last would have 0.
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]),
        # (1 - cos(pi * left)) / 2 at left = 1, 3/4, 1/2, 1/4.
        ("cosine", [0.25, 0.5, 0.75, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_learning_rates_by_hand(schedule: str, expected: list[float]) -> None:
    settings = tiny.optimizer(lr=3.0, warmup_steps=4, schedule=schedule)
    found = [learning_rate(step, 8, settings) for step in range(8)]
    assert found == pytest.approx([3.0 * part for part in expected])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_learning_rates_at_the_edges(schedule: str) -> None:
    settings = tiny.optimizer(lr=2.0, schedule=schedule)
    assert learning_rate(0, 5, settings) == 2.0  # no warm-up: full from the start
    longer = tiny.optimizer(lr=2.0, warmup_steps=10, schedule=schedule)  # than the training
    assert [learning_rate(step, 3, longer) for step in range(3)] == pytest.approx([0.2, 0.4, 0.6])


def test_warmup_only_is_a_warmup_as_long_as_the_training() -> None:
    settings = tiny.optimizer(warmup_steps=10)
    assert warmup_metrics(10, settings) == warmup_metrics(3, settings) == {"warmup_only": 1}
    assert warmup_metrics(11, settings) == warmup_metrics(1, tiny.optimizer(warmup_steps=0)) == {}


# Steps


def line(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(3, 1).double()


def data(count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.3


def squares(model: nn.Module) -> Callable[..., dict[str, Tensor]]:
    """Mean squared error of the rows of a step."""
    x, y = data()

    def loss_of(step: list[int], items: list[int]) -> dict[str, Tensor]:
        return {"loss": (model(x[items]) - y[items]).square().sum() / len(step)}

    return loss_of


def run(
    model: nn.Module, settings: Any, loss_of: Any, checkpoints: Checkpoints, **more: Any
) -> list[dict[str, float]]:
    """Three steps of 8 rows."""
    batches = [list(range(start, start + 8)) for start in (0, 8, 16)]
    return training_loop(
        model,
        settings,
        batches=batches,
        lengths=[1] * 24,
        loss_of=loss_of,
        desc="test",
        checkpoints=checkpoints,
        **more,
    )


@pytest.mark.parametrize("cut", [1, 2, 8])
def test_micro_batches_do_not_change_the_training(
    cut: int, new_checkpoints: Callable[[], Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.optimizer(weight_decay=0.1, max_grad_norm=0.5, schedule="linear")
    whole, parts = line(), line()
    curve = run(whole, settings, squares(whole), new_checkpoints())
    monkeypatch.setenv("APO_TOKEN_BUDGET", str(cut))
    again = run(parts, settings, squares(parts), new_checkpoints())
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in curve], rel=1e-6)
    for a, b in zip(parts.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=0)


def test_a_training_is_that_of_a_plain_loop(
    new_checkpoints: Callable[[], Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW, the mean loss of 8 rows, clipping at 0.5, linear from 0.02: written out once more."""
    settings = tiny.optimizer(lr=0.02, beta2=0.9, weight_decay=0.1, max_grad_norm=0.5, schedule="linear")
    model, plain = line(), line()
    monkeypatch.setenv("APO_TOKEN_BUDGET", "2")
    curve = run(model, settings, squares(model), new_checkpoints())
    x, y = data()
    groups = [
        {"params": [plain.weight], "weight_decay": 0.1},
        {"params": [plain.bias], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.9))
    for step, rate in enumerate([0.02, 0.02 * 2 / 3, 0.02 / 3]):
        adam.param_groups[0]["lr"] = adam.param_groups[1]["lr"] = rate
        adam.zero_grad()
        loss = (plain(x[8 * step : 8 * step + 8]) - y[8 * step : 8 * step + 8]).square().mean()
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
        assert gradient.norm() > 0.5  # the clipping does something
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        adam.step()
        assert curve[step] == pytest.approx({"step": step + 1, "loss": loss.item(), "lr": rate})
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("warmup", "line_of"), [(2, None), (3, "0.01 of 0.01"), (6, "0.005 of 0.01")])
def test_a_warmup_as_long_as_the_training_is_logged(
    warmup: int,
    line_of: str | None,
    new_checkpoints: Callable[[], Checkpoints],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = line()
    run(model, tiny.optimizer(warmup_steps=warmup), squares(model), new_checkpoints())
    logged = capsys.readouterr().err
    assert ("test: all 3 optimizer steps are warm-up" in logged) == (line_of is not None)
    assert line_of is None or line_of in logged


def test_muon_has_the_matrices_inside_and_adamw_the_rest() -> None:
    model = tiny.wrapped(LlamaConfig(vocab_size=380, **tiny.SIZES), pooling="last")
    adamw, muon = build_optimizers(model, tiny.optimizer(optimizer="muon", weight_decay=0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    inner = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert inner == {name for name in names.values() if ".layers." in name and "norm" not in name}
    outer = {names[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert inner.isdisjoint(outer) and inner | outer.keys() == set(names.values())
    assert {name for name, decay in outer.items() if decay} == {
        "classifier.model.embed_tokens.weight",
        "classifier.score.weight",
    }
    assert all(group["weight_decay"] == 0.1 for group in muon.param_groups)
    [alone] = build_optimizers(model, tiny.optimizer(optimizer="adamw"))
    assert sum(len(group["params"]) for group in alone.param_groups) == len(names)


def test_weight_decay_shrinks_matrices_alone(new_checkpoints: Callable[[], Checkpoints]) -> None:
    """Without a gradient AdamW does nothing but decay: 3 steps by 1 - 0.1 * 0.5, vectors not."""
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    nn.init.ones_(model[0].bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def nothing(step: list[int], items: list[int]) -> dict[str, Tensor]:
        return {"loss": torch.stack([(p * 0.0).sum() for p in model.parameters()]).sum()}

    run(model, tiny.optimizer(lr=0.1, weight_decay=0.5), nothing, new_checkpoints())
    for name, parameter in model.named_parameters():
        factor = 0.95**3 if name == "0.weight" else 1.0
        assert torch.allclose(parameter, before[name] * factor), name


def test_frozen_parameters_stay(new_checkpoints: Callable[[], Checkpoints]) -> None:
    model = line()
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    run(model, tiny.optimizer(), squares(model), new_checkpoints())
    assert torch.equal(model.bias, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_ends_the_training(
    bad: float, new_checkpoints: Callable[[], Checkpoints]
) -> None:
    model = line()

    def loss_of(step: list[int], items: list[int]) -> dict[str, Tensor]:
        own = squares(model)(step, items)["loss"]
        return {"loss": own + bad if 8 in items else own}

    checkpoints = new_checkpoints()
    with pytest.raises(UserError, match=r"test: found a loss of .* at step 2; .*lower the learning rate"):
        run(model, tiny.optimizer(), loss_of, checkpoints)
    assert all(p.isfinite().all() for p in model.parameters())  # the step was not taken
    assert not (checkpoints.folder / "state.safetensors").exists()


def test_the_look_joins_the_curve_when_it_is_due(new_checkpoints: Callable[[], Checkpoints]) -> None:
    model = line()
    modes = []

    def eval_fn(step: int) -> dict[str, float]:
        modes.append(model.training)
        return {"seen": float(step)}

    curve = run(model, tiny.optimizer(), squares(model), new_checkpoints(), eval_fn=eval_fn, eval_steps=2)
    assert [row.get("seen") for row in curve] == [None, 1.0, 2.0]  # every second, and the last
    assert modes == [False, False]
    assert not model.training  # as it is measured afterwards
    never = run(line(), tiny.optimizer(), squares(model), new_checkpoints(), eval_fn=eval_fn)
    assert all(row.keys() == {"step", "loss", "lr"} for row in never)


def test_more_processes_than_items_is_one_message(
    new_checkpoints: Callable[[], Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 25)
    model = line()
    with pytest.raises(UserError, match=r"APO_LAUNCH: found 25 processes for 24 items; expected no more"):
        run(model, tiny.optimizer(), squares(model), new_checkpoints())


def test_ranks_that_read_different_states_are_named(
    new_checkpoints: Callable[[], Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks that read the same say nothing; two computations differ though both are at their start."""
    checkpoints = new_checkpoints()
    marks = [checkpoints.mark()] * 4
    monkeypatch.setattr(distributed, "all_gather", lambda mark: marks)
    check_same_state(checkpoints)
    marks[2:] = [(7, 0xAB), new_checkpoints().mark()]
    with pytest.raises(
        UserError,
        match=r"different saved states: step 0 \(digest \w+\) by rank 0 1, step 7 \(digest ab\) by rank 2, "
        r"step 0 \(digest \w+\) by rank 3; expected the same state in all ranks",
    ):
        check_same_state(checkpoints)


def test_terms_beside_the_loss_join_the_curve(
    new_checkpoints: Callable[[], Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the sum over the micro-batches of a step."""
    model = line()

    def loss_of(step: list[int], items: list[int]) -> dict[str, Tensor]:
        return squares(model)(step, items) | {"half": torch.tensor(len(items) / 16)}

    monkeypatch.setenv("APO_TOKEN_BUDGET", "3")
    curve = run(model, tiny.optimizer(), loss_of, new_checkpoints())
    assert [row["half"] for row in curve] == [0.5, 0.5, 0.5]
