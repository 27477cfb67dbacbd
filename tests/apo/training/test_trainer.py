"""apo/training/trainer.py: what a step of the training loop does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from apo.core import distributed
from apo.core.errors import UserError
from apo.training.checkpointing import Checkpoints
from apo.training.engines import check_same_state
from apo.training.trainer import build_optimizers
from tests.helpers import tiny_models as tiny
from tests.helpers.linear_model import data, line, run, squares


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
        loss = squares(model)(step, items)["loss"]
        return {"loss": loss + bad if 8 in items else loss}

    checkpoints = new_checkpoints()
    with pytest.raises(UserError, match=r"test: found a loss of .* at step 2; .*lower the learning rate"):
        run(model, tiny.optimizer(), loss_of, checkpoints)
    assert all(p.isfinite().all() for p in model.parameters())  # the step was not taken
    assert not (checkpoints.folder / "state.safetensors").exists()


def test_a_gradient_that_is_no_number_in_the_last_step_ends_the_training(
    new_checkpoints: Callable[[], Checkpoints],
) -> None:
    """The loss of that step is finite: the square root of 0 has no finite gradient."""
    model = line()

    def loss_of(step: list[int], items: list[int]) -> dict[str, Tensor]:
        loss = squares(model)(step, items)["loss"]
        return {"loss": loss + (model.bias * 0.0).sqrt().sum() if 16 in items else loss}

    checkpoints = new_checkpoints()
    with pytest.raises(UserError, match=r"test: found a gradient norm of nan at step 3; expected a finite"):
        run(model, tiny.optimizer(), loss_of, checkpoints)
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
    state_ids = [checkpoints.state_id()] * 4
    monkeypatch.setattr(distributed, "all_gather", lambda state_id: state_ids)
    check_same_state(checkpoints)
    state_ids[2:] = [(7, 0xAB), new_checkpoints().state_id()]
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
