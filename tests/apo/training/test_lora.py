"""lora.py: what is trained, what it computes, what is saved; peft and transformers open it."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GPT2Config

from apo.core.errors import UserError
from apo.model import reward_model as reading
from apo.model.batching import collate, unpacked
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.model.reward_model import RewardModel
from apo.reward.train import RankedResponses, train_reward_model
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from apo.training.lora import Adapter, add_adapters, merge_adapters, trained_weights
from apo.training.settings import Lora
from apo.training.trainer import build_optimizers
from tests.helpers import tiny_models as tiny

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ITEMS = tiny.random_items(5, [2, 4, 3, 2, 5, 2, 3, 4])
DATA = [RankedResponses(item, [float(-i) for i in range(len(item.responses))]) for item in ITEMS]


def lora(rank: int = 3, alpha: float = 12.0, targets: tuple[str, ...] = ()) -> Lora:
    return Lora(rank=rank, alpha=alpha, targets=list(targets))


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")


def adapted(folder: Path, chosen: Lora, seed: int = 1, **changes: Any) -> tuple[RewardModel, Any]:
    """A reward model with adapters, and what merges them."""
    model = tiny.reward_model(folder, **changes)
    return model, add_adapters(model.classifier, chosen, seed=seed, where="rm.lora")


def train(
    model: RewardModel, key: str = "once", *, steps: int = 3, eval_fn: Any = None
) -> list[dict[str, float]]:
    settings = tiny.optimizer(epochs=steps, lr=3e-2)
    with Checkpoints("rm", key).exclusive() as checkpoints:
        return train_reward_model(
            model,
            DATA,
            settings,
            seed=1,
            desc="rm",
            checkpoints=checkpoints,
            eval_fn=eval_fn,
            eval_steps=1,
        )


def trained(folder: Path, chosen: Lora, **changes: Any) -> tuple[RewardModel, Any]:
    model, tuner = adapted(folder, chosen, **changes)
    train(model, str(changes))
    return model, tuner


def rewards(model: RewardModel) -> Tensor:
    return torch.tensor([value for row in rewards_of(model, ITEMS, desc="") for value in row])


def base_weights(model: Any) -> dict[str, Tensor]:
    """All weights that the backbone has too, under its names."""
    return {
        name.replace(".base_layer", "").replace(".original_module", ""): tensor.clone()
        for name, tensor in model.state_dict().items()
        if "lora_" not in name and "modules_to_save" not in name
    }


def gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@pytest.fixture
def opened() -> Iterator[Any]:
    """peft, whose model class asks transformers for a property under its old name."""
    import peft

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield peft.PeftModel


# What is trained


def test_rank_0_is_the_model_as_it_was(tmp_path: Path) -> None:
    model, tuner = adapted(tmp_path / "b", lora(rank=0))
    assert tuner is None and merge_adapters(tuner) is None
    assert model.state_dict().keys() == tiny.reward_model(tmp_path / "b").state_dict().keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_adapted_model_starts_as_the_model_itself(tmp_path: Path) -> None:
    model, _ = adapted(tmp_path / "b", lora())
    assert torch.equal(rewards(model), rewards(tiny.reward_model(tmp_path / "b")))


@pytest.mark.parametrize("targets", [(), ("q_proj", "down_proj")])
def test_adapters_and_head_alone_get_gradients_and_change(tmp_path: Path, targets: tuple[str, ...]) -> None:
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


def test_gradients_are_those_of_the_merged_weights(tmp_path: Path) -> None:
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


def test_adapters_are_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    def drawn(seed: int, other: int) -> Tensor:
        torch.manual_seed(other)
        state = torch.get_rng_state()
        model, _ = adapted(tmp_path / "b", lora(), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([p.detach().flatten() for n, p in model.named_parameters() if "lora_A" in n])

    assert torch.equal(drawn(1, 5), drawn(1, 6))
    assert not torch.equal(drawn(1, 5), drawn(2, 5))


def test_muon_has_adapters_and_adamw_the_head(tmp_path: Path) -> None:
    model, _ = adapted(tmp_path / "b", lora())
    adamw, muon = build_optimizers(model, tiny.optimizer(optimizer="muon"))
    assert [p.shape for group in adamw.param_groups for p in group["params"]] == [(1, 32)]
    assert len(muon.param_groups[0]["params"]) == 2 * 2 * len(LAYERS)


# What it computes


def test_a_tree_gives_what_separate_sequences_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_merged_weights_by_hand(tmp_path: Path) -> None:
    before = base_weights(tiny.reward_model(tmp_path / "b"))
    model, tuner = trained(tmp_path / "b", lora(rank=3, alpha=12.0, targets=("q_proj", "down_proj")))
    with_adapters = rewards(model)
    adapter = merge_adapters(tuner)
    assert isinstance(adapter, Adapter)
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, weights in before.items():
        layer = f"base_model.model.{name.removeprefix('classifier.').removesuffix('.weight')}"
        if name.endswith(("q_proj.weight", "down_proj.weight")):
            a, b = (adapter.weights[f"{layer}.lora_{x}.weight"] for x in "AB")
            assert gap(after[name], weights + 12.0 / 3 * b @ a) < 1e-6
            assert gap(after[name], weights) > 1e-3
        elif name == "classifier.score.weight":
            assert torch.equal(after[name], adapter.weights["base_model.model.score.weight"])
        else:
            assert torch.equal(after[name], weights)
    assert gap(rewards(model), with_adapters) < 1e-5


def test_layers_whose_weights_are_turned(tmp_path: Path) -> None:
    """GPT-2 keeps its matrices as input times output."""
    vocabulary = len(tiny.shared_tokenizer())
    config = GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    config.save_pretrained(tmp_path)
    model = tiny.wrapped(config, pooling="last")
    model.classifier.name_or_path = str(tmp_path)
    tuner = add_adapters(model.classifier, lora(targets=("c_attn",)), seed=1, where="rm.lora")
    train(model)
    before = rewards(model)
    merge_adapters(tuner)
    assert gap(rewards(model), before) < 1e-5


# What is saved


@pytest.mark.parametrize(("pooling", "separator"), [("last", ""), ("eos", "<sep>"), ("average", "")])
def test_the_adapters_on_the_backbone_are_the_merged_checkpoint(
    tmp_path: Path, opened: Any, pooling: str, separator: str
) -> None:
    """Both as their libraries open them, the head included."""
    model, tuner = trained(tmp_path / "b", lora(), pooling=pooling, separator=separator)
    adapter = merge_adapters(tuner)
    save_reward_model(model, tmp_path / "rm", tiny.CARD, adapter.save)
    assert {path.name for path in (tmp_path / "rm" / "adapter").iterdir()} == {
        *("adapter_model.safetensors", "adapter_config.json")
    }
    texts = [(tiny.query("What is 1 plus 2?"), ["3, my friend.", "4"])]
    [item] = model.encoder.items(texts, Counter(), where="")
    [expected] = rewards_of(model, [item], desc="")
    assert abs(expected[0] - expected[1]) > 1e-3
    again = load_reward_model(tmp_path / "rm").eval()
    assert next(iter(rewards_of(again, [item], desc=""))) == pytest.approx(expected, abs=1e-5)

    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "b", num_labels=1, pad_token_id=3)
    head = base.score.weight.clone()
    base.resize_token_embeddings(len(model.encoder.tokenizer), mean_resizing=False)
    on_backbone = opened.from_pretrained(base, tmp_path / "rm" / "adapter").eval()
    assert gap(base.score.weight, head) > 1e-2
    found = rewards_of(RewardModel(base, model.encoder), [item], desc="")
    assert next(iter(found)) == pytest.approx(expected, abs=1e-5)
    if pooling != "average":  # a stock class pools the last token
        stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
        for ids, value in zip(unpacked(item), expected, strict=True):
            row = torch.tensor([ids.prefix + ids.responses[0]])
            assert stock(row).logits.item() == pytest.approx(value, abs=1e-5)
            assert on_backbone(row).logits.item() == pytest.approx(value, abs=1e-5)


def test_what_is_saved_is_the_same_every_time(tmp_path: Path) -> None:
    saved = []
    for name in ("one", "two"):
        model, tuner = adapted(tmp_path / "b", lora())
        train(model, name)
        adapter = merge_adapters(tuner)
        save_reward_model(model, tmp_path / name, tiny.CARD, adapter.save)
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        saved.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert saved[0] == saved[1]
    config = json.loads(saved[0][Path("adapter/adapter_config.json")])
    assert config["target_modules"] == sorted(LAYERS)  # of a set, whose order is another in every process
    assert (config["r"], config["lora_alpha"], config["modules_to_save"]) == (3, 12.0, ["score"])
    assert config["base_model_name_or_path"] == str(tmp_path / "b")


def test_a_reward_model_is_adapted_once_more(tmp_path: Path, opened: Any) -> None:
    """The sequential variant: its head is kept, and the second adapters belong to it."""
    model, tuner = trained(tmp_path / "b", lora())
    save_reward_model(model, tmp_path / "first", tiny.CARD, merge_adapters(tuner).save)
    first = rewards(model)
    second, tuner = adapted(tmp_path / "first", lora(targets=("v_proj",)))
    assert gap(rewards(second), first) < 1e-6
    train(second, "second")
    save_reward_model(second, tmp_path / "second", tiny.CARD, merge_adapters(tuner).save)
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "first")
    opened.from_pretrained(base, tmp_path / "second" / "adapter")
    assert gap(rewards(RewardModel(base, second.encoder).eval()), rewards(second)) < 1e-5
    assert gap(rewards(second), first) > 1e-2


# Killed


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("kill_after", [0, 1])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path: Path, kill_after: int) -> None:
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
    found = merge_adapters(tuner)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in expected.weights)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


# Bad input


@pytest.mark.parametrize("targets", [("q_proj", "query"), ("score",), ("lm_head",), ("embed_tokens",), ("",)])
def test_a_layer_that_the_model_has_not_is_one_message(tmp_path: Path, targets: tuple[str, ...]) -> None:
    model = tiny.reward_model(tmp_path / "b")
    before = list(model.state_dict())
    with pytest.raises(UserError) as told:
        add_adapters(model.classifier, lora(targets=targets), seed=1, where="rm.lora")
    assert str(told.value) == (
        f"params.yaml: rm.lora.targets: found {targets[-1]!r}, which is no linear layer of "
        f"LlamaForSequenceClassification; expected some of {', '.join(sorted(LAYERS))}; write such names, "
        "or [] for all of them; `rank: 0` trains all weights"
    )
    assert list(model.state_dict()) == before


def test_a_language_model_keeps_its_head(tmp_path: Path, opened: Any) -> None:
    """Its output embeddings are no target; the adapters on the actor give the merged model's logits."""
    tiny.backbone(tmp_path / "actor")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "actor").eval()
    tuner = add_adapters(model, lora(), seed=1, where="align.lora")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
    assert all(p.requires_grad == ("lora_" in name) for name, p in model.named_parameters())
    adapter = merge_adapters(tuner)
    (tmp_path / "llm").mkdir()
    adapter.save(tmp_path / "llm")
    assert not any(
        "embed" in name or "head" in name
        for name in load_file(tmp_path / "llm/adapter/adapter_model.safetensors")
    )
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "actor")
    ids = torch.tensor([[1, 50, 60, 70]])
    start = base(ids).logits
    found = opened.from_pretrained(base, tmp_path / "llm" / "adapter").eval()(ids).logits
    assert gap(found, model(ids).logits) < 1e-5 and gap(found, start) > 1e-2
