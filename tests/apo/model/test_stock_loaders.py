"""apo/model/checkpoint.py: transformers alone loads what is saved here and computes the same."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaForSequenceClassification,
)

from apo.core.dialogue import dialogue_to_messages
from apo.model.checkpoint import (
    load_language_model,
    load_reward_model,
    load_tokenizer,
    new_language_model,
    save_language_model,
    save_reward_model,
)
from apo.model.encoders import language_encoder
from tests.helpers import tiny_models as tiny
from tests.helpers.checkpoints import (
    DIALOGUES,
    OWN_TEMPLATE,
    messages_of,
    rewards,
)


@pytest.mark.parametrize("separator", ["", "<sep>"])
@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_stock_loader_gives_the_rewards_of_a_saved_reward_model(
    start: Path, pooling: str, separator: str
) -> None:
    model = tiny.reward_model(start, pooling=pooling, separator=separator)
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    stock = AutoModelForSequenceClassification.from_pretrained(start.parent / "rm").eval()
    tokenizer = AutoTokenizer.from_pretrained(start.parent / "rm")
    assert type(stock) is LlamaForSequenceClassification and stock.config.num_labels == 1
    assert tokenizer.pad_token_id == stock.config.pad_token_id == 3

    expected = rewards(model)
    assert len({round(value, 3) for value in expected}) == 3
    conversations = [messages_of(*dialogue) for dialogue in DIALOGUES]
    for (query, response), messages, reward in zip(DIALOGUES, conversations, expected, strict=True):
        ids = tokenizer.apply_chat_template(messages, return_dict=False)
        [item] = model.encoder.items([(query, [response])], Counter(), where="rows")
        assert ids == item.prefix + item.responses[0]
        with torch.inference_mode():
            assert stock(torch.tensor([ids])).logits.item() == pytest.approx(reward, abs=1e-5)
    batch = tokenizer.apply_chat_template(conversations, padding=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        assert stock(**batch).logits[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert rewards(load_reward_model(start.parent / "rm")) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pooling", ["last", "eos"])
@pytest.mark.parametrize("response", ["7", "  7 \n", "\n\n7", "", " \n"])
def test_stock_template_strips_white_space_around_a_response(
    start: Path, response: str, pooling: str
) -> None:
    model = tiny.reward_model(start, pooling=pooling, separator="<sep>")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    ids = load_tokenizer(start.parent / "rm").apply_chat_template(
        messages_of(DIALOGUES[1][0], response), return_dict=False
    )
    texts = [(DIALOGUES[1][0], [response])]
    [item] = model.encoder.items(texts, Counter(), where="rows", allow_blank=True)
    assert ids == item.prefix + item.responses[0]


def test_save_language_model_saves_the_template_it_is_prompted_with(start: Path) -> None:
    """Its prompt is that of sampling, and its answer ends as in training; one of its own is kept."""
    tokenizer = load_tokenizer(start)
    query, answer = DIALOGUES[1]
    encoder = language_encoder(start, tokenizer, max_length=64, parameter="align.max_length")
    [rendered] = encoder.tokenize([(query, [answer])], Counter(), where="rows")
    assert rendered
    prompt = tokenizer.apply_chat_template(
        dialogue_to_messages(query), add_generation_prompt=True, return_dict=False
    )
    assert prompt == encoder.prompt(rendered, Counter())
    whole = tokenizer.apply_chat_template(messages_of(query, answer), return_dict=False)
    assert whole[: len(prompt)] == prompt and whole[-1] == tokenizer.eos_token_id
    assert whole[len(prompt) :] == rendered.responses[0] + encoder.turn_end
    assert tokenizer.decode(whole[len(prompt) : -1]) == f" {answer}"
    tokenizer.chat_template = OWN_TEMPLATE
    save_language_model(load_language_model(start), tokenizer, start, tiny.CARD)
    assert load_tokenizer(start).chat_template == OWN_TEMPLATE


def end_ids_in(folder: Path) -> Any:
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


def test_save_language_model_saves_all_end_tokens(start: Path) -> None:
    """Those that it has, and the one that its template writes behind an answer, which is all it learns."""
    assert end_ids_in(start) == 2
    tokenizer, model = load_tokenizer(start), load_language_model(start)
    tokenizer.chat_template = OWN_TEMPLATE.replace("eos_token", "pad_token")
    save_language_model(model, tokenizer, start, tiny.CARD)
    assert end_ids_in(start) == [2, 3]
    tokenizer.chat_template = OWN_TEMPLATE
    save_language_model(load_language_model(start), tokenizer, start, tiny.CARD)
    assert end_ids_in(start) == [2, 3]  # none is lost
    stock = AutoModelForCausalLM.from_pretrained(start)
    assert stock.generation_config.eos_token_id == [2, 3] and stock.config.eos_token_id == 2


def test_save_language_model_keeps_a_generation_config_that_transformers_accepts(start: Path) -> None:
    """A temperature without `do_sample`: it saves what it loaded, and nothing that was changed since."""
    path = start / "generation_config.json"
    path.write_text(json.dumps({"temperature": 0.7, "eos_token_id": 1}), encoding="utf-8")
    for _ in range(2):  # the stages after it save it again
        save_language_model(load_language_model(start), load_tokenizer(start), start, tiny.CARD)
        saved = json.loads(path.read_text(encoding="utf-8"))
        assert (saved["temperature"], saved["eos_token_id"]) == (0.7, [1, 2]) and "do_sample" not in saved


@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_stock_loader_keeps_the_end_token_of_a_tokenizer_without_others(start: Path, pooling: str) -> None:
    """As GPT-NeoX and Llama 3 have it: the padding of a stock loader must not swallow the end token."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.unk_token = None
    save_language_model(load_language_model(start), tokenizer, start, tiny.CARD)
    model = tiny.reward_model(start, pooling=pooling)
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    stock = AutoModelForSequenceClassification.from_pretrained(start.parent / "rm").eval()
    again = AutoTokenizer.from_pretrained(start.parent / "rm")
    assert again.pad_token_id is not None
    conversations = [messages_of(*dialogue) for dialogue in DIALOGUES]
    batch = again.apply_chat_template(conversations, padding=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        assert stock(**batch).logits[:, 0].tolist() == pytest.approx(rewards(model), abs=1e-5)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_save_reward_model_of_another_pooling_names_our_class(start: Path, pooling: str) -> None:
    model = tiny.reward_model(start, pooling=pooling)
    folder = start.parent / "rm"
    save_reward_model(model, folder, tiny.CARD)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["apo.model.reward_model.RewardModel"]
    assert config["apo"]["pooling"] == pooling
    assert rewards(load_reward_model(folder)) == pytest.approx(rewards(model), abs=1e-6)
    stock = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = load_tokenizer(folder).apply_chat_template(messages_of(*DIALOGUES[0]), return_dict=False)
    with torch.inference_mode():
        assert abs(stock(torch.tensor([ids])).logits.item() - rewards(model)[0]) > 1e-3  # hence the name


@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_save_reward_model_of_the_last_token_names_the_stock_class(start: Path, pooling: str) -> None:
    save_reward_model(tiny.reward_model(start, pooling=pooling), start.parent / "rm", tiny.CARD)
    config = json.loads((start.parent / "rm" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]


def test_save_language_model_writes_rope_theta_for_older_loaders(tmp_path: Path) -> None:
    """Transformers 4 knows `rope_theta` alone, and would take 10000 in silence where it is missing."""
    tokenizer = load_tokenizer(tiny.backbone(tmp_path / "backbone"))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = new_language_model(tokenizer, seed=1, rope_theta=77.0, **sizes)
    save_language_model(model, tokenizer, tmp_path / "one", "card")
    config = json.loads((tmp_path / "one/config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 77.0
    again = load_language_model(tmp_path / "one")
    assert torch.equal(again.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)
    assert model.model.rotary_emb.inv_freq[1] == pytest.approx(77.0 ** (-2 / 8))
    ids = torch.arange(12)[None]
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
    save_language_model(again, tokenizer, tmp_path / "two", "card")
    assert (tmp_path / "two/config.json").read_bytes() == (tmp_path / "one/config.json").read_bytes()
