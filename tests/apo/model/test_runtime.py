"""apo/model/runtime.py: precision, gradient checkpointing and errors of memory."""

import pytest
import torch

from apo.core.errors import UserError
from apo.model import runtime
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import TREES, gradients


def test_autocast_in_bf16_rounds_layers_and_not_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    items = tiny.random_items(3, [2, 8, 1, 5])
    exact = model.rewards(items)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    rounded = model.rewards(items)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()
    rounded.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def test_set_up_refuses_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_DEVICE", "mps")
    with pytest.raises(
        UserError, match=r"APO_DEVICE: found 'mps' \(it has no float64\); expected cpu, or cuda"
    ):
        runtime.set_up()


def test_precision_refuses_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    monkeypatch.setenv("APO_PRECISION", "fp8")
    with pytest.raises(UserError, match=r"APO_PRECISION: found 'fp8'; expected float32 or bf16"):
        model.rewards(tiny.random_items(3, [2]))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_enable_gradient_checkpointing_changes_no_gradient(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.wrapped(TREES[family], pooling="last").train()
    item = tiny.random_items(3, [4])[0]
    kept = gradients(model, model.rewards([item])[0])
    calls: list[int] = []
    model.classifier.base_model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    monkeypatch.setenv("APO_GRADIENT_CHECKPOINTING", "1")
    runtime.enable_gradient_checkpointing(model.classifier)
    computed_again = gradients(model, model.rewards([item])[0])
    assert len(calls) == 2  # once forward, once more for the backward pass
    assert all(torch.equal(kept[name], gradient) for name, gradient in computed_again.items())


def test_explain_oom_names_the_budget_and_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(UserError, match=r"APO_TOKEN_BUDGET: found no memory .* 2048 .*APO_TOKEN_BUDGET=1024"),
        runtime.explain_oom("APO_TOKEN_BUDGET", 2048),
    ):
        torch.empty(1 << 50)  # a petabyte
    with (
        pytest.raises(UserError, match=r"APO_SAMPLE_BUDGET=8"),
        runtime.explain_oom("APO_SAMPLE_BUDGET", 16),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_explain_oom_passes_on_other_errors() -> None:
    with pytest.raises(RuntimeError, match="shape"), runtime.explain_oom("APO_TOKEN_BUDGET", 2048):
        raise RuntimeError("shape mismatch")
