"""apo/training/lora.py: merged weights by hand, and what is saved; peft and transformers open it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GPT2Config

from apo.model.batching import unpacked
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.model.reward_model import RewardModel
from apo.scoring.rewards import rewards_of
from apo.training.lora import Adapter, add_adapters, merge_adapters
from tests.helpers import tiny_models as tiny
from tests.helpers.adapted import LAYERS, adapted, base_weights, gap, lora, rewards, train, trained

pytestmark = pytest.mark.usefixtures("checkpoint_root")


def test_merge_adapters_by_hand(tmp_path: Path) -> None:
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


def test_merge_adapters_of_transposed_layers(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("pooling", "separator"), [("last", ""), ("eos", "<sep>"), ("average", "")])
def test_saved_adapters_on_the_backbone_equal_the_merged_checkpoint(
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
    rewards = rewards_of(RewardModel(base, model.encoder), [item], desc="")
    assert next(iter(rewards)) == pytest.approx(expected, abs=1e-5)
    if pooling != "average":  # a stock class pools the last token
        stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
        for ids, value in zip(unpacked(item), expected, strict=True):
            row = torch.tensor([ids.prefix + ids.responses[0]])
            assert stock(row).logits.item() == pytest.approx(value, abs=1e-5)
            assert on_backbone(row).logits.item() == pytest.approx(value, abs=1e-5)


def test_saved_adapters_are_deterministic(tmp_path: Path) -> None:
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


def test_add_adapters_to_a_merged_reward_model(tmp_path: Path, opened: Any) -> None:
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


def test_add_adapters_leaves_the_head_of_a_language_model(tmp_path: Path, opened: Any) -> None:
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
    logits = opened.from_pretrained(base, tmp_path / "llm" / "adapter").eval()(ids).logits
    assert gap(logits, model(ids).logits) < 1e-5 and gap(logits, start) > 1e-2
