"""apo/model/checkpoint.py: what a model starts from, what decides its weights, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from apo.core.errors import UserError
from apo.model.checkpoint import (
    is_reward_model,
    load_language_model,
    load_reward_model,
    load_tokenizer,
    save_language_model,
    save_reward_model,
)
from apo.model.settings import Model
from tests.helpers import tiny_models as tiny
from tests.helpers.checkpoints import edit_config, rewards

# A stock loader sees the same


def test_save_language_model_refuses_an_unusable_template(start: Path) -> None:
    tokenizer = load_tokenizer(start)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(UserError, match=r"other: chat template: found a question .*, and with its answer"):
        save_language_model(load_language_model(start), tokenizer, start.parent / "other", tiny.CARD)
    assert not (start.parent / "other").exists()


def test_load_reward_model_restores_the_settings(start: Path) -> None:
    model = tiny.reward_model(start, max_length=33, pooling="eos", separator="<sep>", truncation_side="right")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    again = load_reward_model(start.parent / "rm").encoder
    assert (again.max_length, again.pooling, again.separator) == (33, "eos", "<sep>")
    assert again.truncation_side == again.tokenizer.truncation_side == "right"
    assert again.tokenizer.padding_side == "right"
    assert again.tokenizer.convert_tokens_to_ids("<sep>") == 380


# Random numbers


@pytest.mark.parametrize("separator", ["", "<sep>"])
def test_start_reward_model_depends_on_the_seed_alone(start: Path, separator: str) -> None:
    torch.manual_seed(0)
    one = rewards(tiny.reward_model(start, seed=1, separator=separator))
    torch.manual_seed(12345)
    torch.rand(7)
    again = rewards(tiny.reward_model(start, seed=1, separator=separator))
    other = rewards(tiny.reward_model(start, seed=2, separator=separator))
    assert again == one
    assert all(abs(a - b) > 1e-4 for a, b in zip(one, other, strict=True))


def test_checkpoints_leave_the_global_random_state_alone(start: Path) -> None:
    before = torch.get_rng_state()
    model = tiny.reward_model(start, separator="<sep>")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    load_reward_model(start.parent / "rm")
    load_language_model(start)
    tiny.language_model()
    assert torch.equal(torch.get_rng_state(), before)


def test_start_reward_model_draws_the_head_with_the_documented_spread(start: Path) -> None:
    # 1 / sqrt(32 + 1); 20 seeds of 32 numbers: the standard deviation is known to 3 %.
    heads = [tiny.reward_model(start, seed=seed).classifier.score.weight for seed in range(20)]
    assert torch.stack(heads).std().item() == pytest.approx(33**-0.5, rel=0.1)
    assert abs(torch.stack(heads).mean().item()) < 0.03


def test_new_language_model_is_a_function_of_its_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        weight: torch.Tensor = tiny.language_model(seed).lm_head.weight
        return weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_start_reward_model_of_a_reward_model_keeps_the_head(start: Path) -> None:
    model = tiny.reward_model(start, seed=1)
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    again = tiny.reward_model(start.parent / "rm", seed=2)
    assert torch.equal(again.classifier.score.weight, model.classifier.score.weight)
    assert rewards(again) == pytest.approx(rewards(model), abs=1e-6)


def test_start_reward_model_keeps_the_given_backbone(start: Path) -> None:
    model = tiny.reward_model(start)
    given = load_language_model(start).model.state_dict()
    for name, tensor in model.classifier.model.state_dict().items():
        assert torch.equal(tensor, given[name]), name


def test_start_reward_model_adds_no_separator_that_is_a_token_already(start: Path) -> None:
    model = tiny.reward_model(start, separator="<pad>")
    assert len(model.encoder.tokenizer) == model.classifier.config.vocab_size == 380


# Refused checkpoints


@pytest.mark.parametrize(
    "settings",
    [
        None,
        "last",
        {},
        {"max_length": 64, "pooling": "mean", "separator": "", "truncation_side": "left"},
        {"max_length": 64, "pooling": "last", "separator": ""},
        {"max_length": 64, "pooling": "last", "separator": "", "truncation_side": "left", "more": 1},
    ],
)
def test_load_reward_model_refuses_a_config_without_our_settings(start: Path, settings: Any) -> None:
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    edit_config(apo=settings)(start.parent / "rm")
    with pytest.raises(UserError, match=r"under the key `apo` of its config\.json"):
        load_reward_model(start.parent / "rm")


def test_load_reward_model_refuses_a_backbone(start: Path) -> None:
    assert not is_reward_model(start)
    with pytest.raises(UserError, match=r"under the key `apo` of its config\.json"):
        load_reward_model(start)
    with pytest.raises(UserError, match=r"weights without score\.weight"):
        load_reward_model(start, default_settings=Model(**tiny.READING))
    edit_config(apo=tiny.READING)(start)
    with pytest.raises(UserError, match=r"weights without score\.weight"):
        load_reward_model(start)


# Reward models of others


def test_start_reward_model_refuses_a_pooling_without_its_end_token(start: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(start)
    assert tiny.reward_model(start).supports_shared_prefix
    with pytest.raises(UserError, match=r"without an end token and `model\.pooling: eos`"):
        tiny.reward_model(start, pooling="eos")


def test_load_tokenizer_refuses_a_tokenizer_without_padding_token(start: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.unk_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(start)
    with pytest.raises(UserError, match="without pad, unknown and end token"):
        load_tokenizer(start)


def test_load_language_model_refuses_one_inside_a_model_of_images(tmp_path: Path) -> None:
    text = {"vocab_size": 64, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision |= {"image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "gemma")
    with pytest.raises(UserError, match="found Gemma3ForConditionalGeneration, which holds a language model"):
        load_language_model(tmp_path / "gemma")
