"""apo/training/lora.py: what is trained, and what it computes."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from apo.core.errors import UserError
from apo.model import reward_model as reading
from apo.model.batching import collate, unpacked
from apo.training.lora import add_adapters, merge_adapters, trained_weights
from apo.training.trainer import build_optimizers
from tests.helpers import tiny_models as tiny
from tests.helpers.adapted import LAYERS, adapted, base_weights, gap, lora, rewards, train, trained

ITEMS = tiny.random_items(5, [2, 4, 3, 2, 5, 2, 3, 4])


pytestmark = pytest.mark.usefixtures("checkpoint_root")


# What is trained


def test_add_adapters_of_rank_0_leaves_the_model(tmp_path: Path) -> None:
    model, tuner = adapted(tmp_path / "b", lora(rank=0))
    assert tuner is None and merge_adapters(tuner) is None
    assert model.state_dict().keys() == tiny.reward_model(tmp_path / "b").state_dict().keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_add_adapters_starts_as_the_model_itself(tmp_path: Path) -> None:
    model, _ = adapted(tmp_path / "b", lora())
    assert torch.equal(rewards(model), rewards(tiny.reward_model(tmp_path / "b")))


@pytest.mark.parametrize("targets", [(), ("q_proj", "down_proj")])
def test_trained_weights_are_adapters_and_head_alone(tmp_path: Path, targets: tuple[str, ...]) -> None:
    before = base_weights(tiny.reward_model(tmp_path / "b"))
    model, _ = adapted(tmp_path / "b", lora(targets=targets))
    start = {name: parameter.clone() for name, parameter in model.named_parameters()}
    head = "classifier.score.modules_to_save.default.weight"
    sizes = dict.fromkeys(LAYERS[:4], (32, 32)) | dict.fromkeys(LAYERS[4:], (32, 64))
    assert trained_weights(model) == 32 + 2 * sum(3 * sum(sizes[n]) for n in targets or LAYERS)
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[-4] for name in free - {head}} == set(targets or LAYERS)
    train(model)
    changed = {
        name for name, parameter in model.named_parameters() if not torch.equal(parameter, start[name])
    }
    assert changed == free and head in free
    after = base_weights(model)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_adapter_gradients_are_those_of_the_merged_weights(tmp_path: Path) -> None:
    """With W' = W + s B A and G = dL/dW': dL/dB = s G A^T and dL/dA = s B^T G, in float64."""
    model, _ = trained(tmp_path / "b", lora(rank=3, alpha=12.0))
    whole, tuner = trained(tmp_path / "b", lora(rank=3, alpha=12.0))
    model.double(), whole.double()
    merge_adapters(tuner)
    for one in (model, whole):
        one.classifier.requires_grad_(True)
        batch = collate(ITEMS, pad_id=3)
        (one(batch) * torch.linspace(-1, 1, 5, dtype=torch.double)).sum().backward()
    for name, layer in model.named_modules():
        if name.split(".")[-1] in LAYERS:
            gradient = whole.get_submodule(name).weight.grad
            a, b = layer.lora_A.default.weight, layer.lora_B.default.weight
            assert gradient.norm() > 0 and a.grad.norm() > 0
            assert torch.allclose(b.grad, 4.0 * gradient @ a.T, rtol=1e-8, atol=1e-10)
            assert torch.allclose(a.grad, 4.0 * b.T @ gradient, rtol=1e-8, atol=1e-10)


def test_add_adapters_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def drawn(seed: int, other: int) -> Tensor:
        torch.manual_seed(other)
        state = torch.get_rng_state()
        model, _ = adapted(tmp_path / "b", lora(), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([p.detach().flatten() for n, p in model.named_parameters() if "lora_A" in n])

    assert torch.equal(drawn(1, 5), drawn(1, 6))
    assert not torch.equal(drawn(1, 5), drawn(2, 5))


def test_build_optimizers_gives_adapters_to_muon_and_the_head_to_adamw(tmp_path: Path) -> None:
    model, _ = adapted(tmp_path / "b", lora())
    adamw, muon = build_optimizers(model, tiny.optimizer(optimizer="muon"))
    assert [p.shape for group in adamw.param_groups for p in group["params"]] == [(1, 32)]
    assert len(muon.param_groups[0]["params"]) == 2 * 2 * len(LAYERS)


# What it computes


def test_adapters_on_a_tree_equal_separate_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the short way through the last layer and without, and as transformers' own class reads them."""
    model, _ = trained(tmp_path / "b", lora())
    assert model.supports_shared_prefix
    together = rewards(model)
    assert gap(together, rewards(tiny.reward_model(tmp_path / "b"))) > 0.1
    rows = [part for item in ITEMS for part in unpacked(item)]
    with torch.no_grad():
        stock = [model.classifier(torch.tensor([r.prefix + r.responses[0]])).logits.item() for r in rows]
    assert gap(together, torch.tensor(stock)) < 1e-5
    monkeypatch.setattr(reading, "FAMILY", ())
    assert gap(together, rewards(model)) < 1e-5


# Killed


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("kill_after", [0, 1])
def test_adapters_of_a_killed_training_end_in_the_same_bytes(tmp_path: Path, kill_after: int) -> None:
    def kill(step: int) -> dict[str, float]:
        if step == kill_after + 1:
            raise Killed
        return {}

    whole, tuner = adapted(tmp_path / "b", lora())
    curve = train(whole, "whole")
    expected = merge_adapters(tuner)
    model, _ = adapted(tmp_path / "b", lora())
    with pytest.raises(Killed):
        train(model, "killed", eval_fn=kill)
    [state] = tmp_path.glob(".cache/checkpoints/rm-killed/state.safetensors")
    with safe_open(state, framework="pt") as file:
        locked = {name for name in file.keys() if name.startswith("model/")}  # noqa: SIM118
    assert locked == {f"model/{name}" for name, p in model.named_parameters() if p.requires_grad}
    again, tuner = adapted(tmp_path / "b", lora())
    assert train(again, "killed") == curve
    merged = merge_adapters(tuner)
    assert all(torch.equal(merged.weights[name], expected.weights[name]) for name in expected.weights)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


# Bad input


@pytest.mark.parametrize("targets", [("q_proj", "query"), ("score",), ("lm_head",), ("embed_tokens",), ("",)])
def test_add_adapters_refuses_an_unknown_layer(tmp_path: Path, targets: tuple[str, ...]) -> None:
    model = tiny.reward_model(tmp_path / "b")
    before = list(model.state_dict())
    with pytest.raises(UserError) as error:
        add_adapters(model.classifier, lora(targets=targets), seed=1, where="rm.lora")
    assert str(error.value) == (
        f"params.yaml: rm.lora.targets: found {targets[-1]!r}, which is no linear layer of "
        f"LlamaForSequenceClassification; expected some of {', '.join(sorted(LAYERS))}; write such names, "
        "or [] for all of them; `rank: 0` trains all weights"
    )
    assert list(model.state_dict()) == before
