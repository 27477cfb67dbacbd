"""checkpoint.py: a checkpoint is a Hugging Face model; broken ones are refused; seeds decide alone."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.model.batching import collate
from apo.model.checkpoint import (
    RewardModel,
    is_reward_model,
    load_language_model,
    load_reward_model,
    load_tokenizer,
    new_language_model,
    save_language_model,
    save_reward_model,
    start_reward_model,
)
from apo.model.encoders import language_encoder
from apo.model.hh_template import hh_template
from apo.model.settings import Model
from tests.helpers import tiny_models as tiny

DIALOGUES = [
    ("\n\nHuman: What is 1 plus 2?\n\nAssistant:", "3, my friend."),
    ("\n\nHuman: What is 1 plus 2?\n\nAssistant: 3\n\nHuman: And plus 4?\n\nAssistant:", "7"),
    ("Be brief.\n\nHuman: Where did you eat?\n\nAssistant:", "At the café,\n\nwhich was good."),
]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return tiny.backbone(tmp_path / "backbone")


def rewards(model: RewardModel, texts: list[tuple[str, str]] = DIALOGUES) -> list[float]:
    """One at a time."""
    items = model.encoder.items(((query, [text]) for query, text in texts), Counter(), where="rows")
    pad_id = model.encoder.tokenizer.pad_token_id
    with torch.inference_mode():
        return [model(collate([item], pad_id=pad_id)).item() for item in items]


OWN = (
    "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
)


def messages_of(query: str, response: str) -> list[dict[str, str]]:
    return [*dialogue_to_messages(query), {"role": "assistant", "content": response}]


# A stock loader sees the same


@pytest.mark.parametrize("separator", ["", "<sep>"])
@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_a_stock_loader_gives_the_same_rewards(start: Path, pooling: str, separator: str) -> None:
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
def test_white_space_around_a_response_is_no_part_of_it(start: Path, response: str, pooling: str) -> None:
    model = tiny.reward_model(start, pooling=pooling, separator="<sep>")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    ids = load_tokenizer(start.parent / "rm").apply_chat_template(
        messages_of(DIALOGUES[1][0], response), return_dict=False
    )
    texts = [(DIALOGUES[1][0], [response])]
    [item] = model.encoder.items(texts, Counter(), where="rows", allow_blank=True)
    assert ids == item.prefix + item.responses[0]


def test_a_language_model_brings_the_template_that_it_is_prompted_with(start: Path) -> None:
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
    tokenizer.chat_template = OWN
    save_language_model(load_language_model(start), tokenizer, start, tiny.CARD)
    assert load_tokenizer(start).chat_template == OWN


def end_ids_in(folder: Path) -> Any:
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


def test_a_language_model_is_saved_with_all_its_end_tokens(start: Path) -> None:
    """Those that it has, and the one that its template writes behind an answer, which is all it learns."""
    assert end_ids_in(start) == 2
    tokenizer, model = load_tokenizer(start), load_language_model(start)
    tokenizer.chat_template = OWN.replace("eos_token", "pad_token")
    save_language_model(model, tokenizer, start, tiny.CARD)
    assert end_ids_in(start) == [2, 3]
    tokenizer.chat_template = OWN
    save_language_model(model, tokenizer, start, tiny.CARD)
    assert end_ids_in(start) == [2, 3]  # none is lost
    stock = AutoModelForCausalLM.from_pretrained(start)
    assert stock.generation_config.eos_token_id == [2, 3] and stock.config.eos_token_id == 2


def test_a_template_that_can_not_be_used_is_not_saved(start: Path) -> None:
    tokenizer = load_tokenizer(start)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(UserError, match=r"other: chat template: found a question .*, and with its answer"):
        save_language_model(load_language_model(start), tokenizer, start.parent / "other", tiny.CARD)
    assert not (start.parent / "other").exists()


@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_a_tokenizer_whose_only_special_token_is_its_end_token(start: Path, pooling: str) -> None:
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
def test_another_pooling_says_whose_it_is_and_loads_through_ours(start: Path, pooling: str) -> None:
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
def test_the_last_token_needs_no_name_of_ours(start: Path, pooling: str) -> None:
    save_reward_model(tiny.reward_model(start, pooling=pooling), start.parent / "rm", tiny.CARD)
    config = json.loads((start.parent / "rm" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]


def test_the_settings_come_back(start: Path) -> None:
    model = tiny.reward_model(start, max_length=33, pooling="eos", separator="<sep>", truncation_side="right")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    again = load_reward_model(start.parent / "rm").encoder
    assert (again.max_length, again.pooling, again.separator) == (33, "eos", "<sep>")
    assert again.truncation_side == again.tokenizer.truncation_side == "right"
    assert again.tokenizer.padding_side == "right"
    assert again.tokenizer.convert_tokens_to_ids("<sep>") == 380


def test_what_is_in_the_folder(start: Path) -> None:
    """Safetensors and text alone: no pickle, nothing that says when or where it was made."""
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    assert (start.parent / "rm" / "README.md").read_text() == (start / "README.md").read_text() == tiny.CARD
    assert sorted(path.name for path in (start.parent / "rm").iterdir()) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert str(start.parent) not in "".join(
        path.read_text() for path in (start.parent / "rm").iterdir() if path.suffix != ".safetensors"
    )


def test_saving_twice_gives_the_same_bytes(start: Path) -> None:
    for name in ("a", "b"):
        save_reward_model(tiny.reward_model(start, separator="<sep>"), start.parent / name, tiny.CARD)
    for path in (start.parent / "a").iterdir():
        assert path.read_bytes() == (start.parent / "b" / path.name).read_bytes(), path.name


# Random numbers


def test_the_base_of_rotary_positions_stands_where_older_loaders_look_too(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("separator", ["", "<sep>"])
def test_the_seed_alone_decides(start: Path, separator: str) -> None:
    torch.manual_seed(0)
    one = rewards(tiny.reward_model(start, seed=1, separator=separator))
    torch.manual_seed(12345)
    torch.rand(7)
    again = rewards(tiny.reward_model(start, seed=1, separator=separator))
    other = rewards(tiny.reward_model(start, seed=2, separator=separator))
    assert again == one
    assert all(abs(a - b) > 1e-4 for a, b in zip(one, other, strict=True))


def test_the_global_random_state_is_left_alone(start: Path) -> None:
    before = torch.get_rng_state()
    model = tiny.reward_model(start, separator="<sep>")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    load_reward_model(start.parent / "rm")
    load_language_model(start)
    tiny.language_model()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_head_has_the_spread_that_is_written(start: Path) -> None:
    # 1 / sqrt(32 + 1); 20 seeds of 32 numbers: the standard deviation is known to 3 %.
    heads = [tiny.reward_model(start, seed=seed).classifier.score.weight for seed in range(20)]
    assert torch.stack(heads).std().item() == pytest.approx(33**-0.5, rel=0.1)
    assert abs(torch.stack(heads).mean().item()) < 0.03


def test_a_backbone_is_a_function_of_its_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        found: torch.Tensor = tiny.language_model(seed).lm_head.weight
        return found

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_sequential_variant_keeps_the_head(start: Path) -> None:
    model = tiny.reward_model(start, seed=1)
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    again = tiny.reward_model(start.parent / "rm", seed=2)
    assert torch.equal(again.classifier.score.weight, model.classifier.score.weight)
    assert rewards(again) == pytest.approx(rewards(model), abs=1e-6)


def test_the_backbone_below_is_the_one_that_was_given(start: Path) -> None:
    model = tiny.reward_model(start)
    given = load_language_model(start).model.state_dict()
    for name, tensor in model.classifier.model.state_dict().items():
        assert torch.equal(tensor, given[name]), name


def test_a_separator_that_is_a_token_already_adds_none(start: Path) -> None:
    model = tiny.reward_model(start, separator="<pad>")
    assert len(model.encoder.tokenizer) == model.classifier.config.vocab_size == 380


# Refused checkpoints


def cut_in_half(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def text(name: str, content: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json in it"),
    "only a pickle": (only_a_pickle, r"no \*\.safetensors file.*pickles are not loaded"),
    "half the weights": (cut_in_half, "does not load"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "does not load"),
    "a weight is missing": (without_a_layer, r"weights without model\.layers\.1\.mlp\.up_proj\.weight"),
    "more layers than weights": (config(num_hidden_layers=3), r"without model\.layers\.2\..* and 8 more"),
    "other sizes": (config(hidden_size=48), "does not load"),
    "sizes that do not go together": (config(num_attention_heads=3), "does not load"),
    "a size that is text": (config(hidden_size="wide"), "does not load"),
    "an unknown type": (config(model_type="nothing"), "does not load"),
    "config is no JSON": (text("config.json", "{oh"), "does not load|found JSONDecodeError.* a JSON object"),
    "config is a list": (text("config.json", "[]"), r"does not load|found \[\]; expected a JSON object"),
    "config is empty": (text("config.json", "{}"), "does not load|under the key `apo`"),
    "tokenizer is no JSON": (text("tokenizer.json", "{oh"), "does not load"),
    "tokenizer is empty": (text("tokenizer.json", "{}"), "does not load"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_refused_in_one_sentence(start: Path, name: str) -> None:
    spoil, message = BROKEN[name]
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    spoil(start.parent / "rm")
    with pytest.raises(UserError, match=message) as caught:
        load_reward_model(start.parent / "rm")
    assert str(caught.value).startswith(str(start.parent / "rm"))
    with pytest.raises(UserError, match=message):
        start_reward_model(start.parent / "rm", Model(**tiny.READING), seed=1)
    if "tokenizer" not in name:
        spoil_again = start.parent / "lm"
        shutil.copytree(start, spoil_again)
        spoil(spoil_again)
        with pytest.raises(UserError, match=message):
            load_language_model(spoil_again)


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
def test_a_reward_model_of_somebody_else_is_refused(start: Path, settings: Any) -> None:
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    config(apo=settings)(start.parent / "rm")
    with pytest.raises(UserError, match=r"under the key `apo` of its config\.json"):
        load_reward_model(start.parent / "rm")


def test_a_backbone_is_no_reward_model(start: Path) -> None:
    assert not is_reward_model(start)
    with pytest.raises(UserError, match=r"under the key `apo` of its config\.json"):
        load_reward_model(start)
    with pytest.raises(UserError, match=r"weights without score\.weight"):
        load_reward_model(start, foreign=Model(**tiny.READING))
    config(apo=tiny.READING)(start)
    with pytest.raises(UserError, match=r"weights without score\.weight"):
        load_reward_model(start)


# Reward models of others


def foreign(folder: Path, labels: int = 1, **changes: Any) -> Path:
    """A classifier as others save it: a template of its own, no word of ours in its config."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = OWN
    sizes = {"vocab_size": 380, "pad_token_id": 3, "num_labels": labels, **tiny.SIZES, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlamaForSequenceClassification(LlamaConfig(**sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


READING = Model(max_length=64, pooling="eos", separator="", truncation_side="left")


def test_a_reward_model_of_others_gives_its_own_rewards(start: Path) -> None:
    """What the stock classes give for its own template, before and after it is saved here."""
    folder = foreign(start.parent / "foreign")
    assert is_reward_model(folder)
    model = load_reward_model(folder, foreign=READING).eval()
    assert model.encoder.pooling == "last"
    stock = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for dialogue in DIALOGUES:
        ids = tokenizer.apply_chat_template(messages_of(*dialogue), return_dict=False)
        with torch.inference_mode():
            expected.append(stock(torch.tensor([ids])).logits.item())
    assert rewards(model) == pytest.approx(expected, abs=1e-5)
    save_reward_model(model, start.parent / "own", tiny.CARD)
    assert rewards(load_reward_model(start.parent / "own").eval()) == pytest.approx(expected, abs=1e-6)
    assert load_tokenizer(start.parent / "own").chat_template == OWN


def test_a_reward_model_of_others_starts_one_with_its_head(start: Path) -> None:
    folder = foreign(start.parent / "foreign")
    head = load_reward_model(folder, foreign=READING).classifier.score.weight
    model = start_reward_model(folder, READING, seed=1)
    assert torch.equal(model.classifier.score.weight, head) and model.encoder.pooling == "eos"


def test_its_padding_is_that_of_its_config(start: Path) -> None:
    folder = foreign(start.parent / "foreign", pad_token_id=7)
    tokenizer = load_reward_model(folder, foreign=READING).encoder.tokenizer
    assert tokenizer.pad_token_id == 7


def test_a_classifier_with_several_labels_is_no_reward_model(start: Path) -> None:
    folder = foreign(start.parent / "foreign", labels=3)
    with pytest.raises(UserError, match="found a classifier with 3 labels; expected a reward model"):
        load_reward_model(folder, foreign=READING)
    with pytest.raises(UserError, match="found a classifier with 3 labels; expected a reward model"):
        start_reward_model(folder, READING, seed=1)


def test_a_reward_model_without_a_linear_head_is_refused(start: Path) -> None:
    settings = {"vocab_size": 380, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = BertConfig(**settings, num_attention_heads=2, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(start.parent / "bert")
    tiny.tokenizer().save_pretrained(start.parent / "bert")
    with pytest.raises(UserError, match="BertForSequenceClassification, which has no linear layer `score`"):
        load_reward_model(start.parent / "bert", foreign=READING)


def test_more_tokens_than_a_model_has_positions_are_refused_before_it_is_loaded(start: Path) -> None:
    folder = foreign(start.parent / "foreign", max_position_embeddings=32)
    only_a_pickle(folder)
    message = r"model\.max_length: found 64 tokens with .*foreign, a model of 32 positions"
    with pytest.raises(UserError, match=message):
        start_reward_model(folder, READING, seed=1)
    foreign(start.parent / "foreign", max_position_embeddings=32)
    with pytest.raises(UserError, match=message):
        load_reward_model(folder, foreign=READING)


def test_a_tokenizer_of_another_model_is_refused(start: Path) -> None:
    folder = foreign(start.parent / "foreign", vocab_size=300)
    with pytest.raises(UserError, match=r"foreign: found a tokenizer with id 379 .* with 300 embeddings"):
        start_reward_model(folder, READING, seed=1)


def test_weights_may_be_stored_in_half_the_bytes(start: Path) -> None:
    model = tiny.reward_model(start)
    save_reward_model(model, start.parent / "rm", tiny.CARD, dtype="bfloat16")
    weights = load_file(start.parent / "rm" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert json.loads((start.parent / "rm" / "config.json").read_text())["dtype"] == "bfloat16"
    again = load_reward_model(start.parent / "rm")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # what trains on is left alone
    assert rewards(again) == pytest.approx(rewards(model), abs=0.02)


def test_remote_code_is_not_run(start: Path) -> None:
    """A config that names code of its own loads the library's class, or nothing."""
    code = "raise SystemExit('run')"
    text("modeling_own.py", code)(start)
    config(auto_map={"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Own"})(start)
    assert type(load_language_model(start)).__module__ == "transformers.models.llama.modeling_llama"
    config(model_type="own")(start)
    with pytest.raises(UserError, match="does not load"):
        load_language_model(start)


def test_a_pooling_that_needs_an_end_token_says_so(start: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(start)
    assert tiny.reward_model(start).supports_shared_prefix
    with pytest.raises(UserError, match=r"without an end token and `model\.pooling: eos`"):
        tiny.reward_model(start, pooling="eos")


def test_a_tokenizer_without_any_token_for_padding_is_refused(start: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.unk_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(start)
    with pytest.raises(UserError, match="without pad, unknown and end token"):
        load_tokenizer(start)


# Whole or not at all


def test_a_save_that_fails_leaves_what_was_there(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = start.parent / "rm"
    model = tiny.reward_model(start)
    save_reward_model(model, folder, tiny.CARD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(type(model.encoder.tokenizer), "save_pretrained", full)
    with torch.no_grad():
        model.classifier.score.weight += 1
    with pytest.raises(UserError, match="found no space left"):
        save_reward_model(model, folder, tiny.CARD)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="found no space left"):
        save_reward_model(model, start.parent / "new", tiny.CARD)
    assert sorted(path.name for path in start.parent.iterdir()) == ["backbone", "rm"]


def test_a_save_replaces_the_whole_folder(start: Path) -> None:
    folder = start.parent / "rm"
    folder.mkdir()
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of another model")
    (start.parent / "rm.tmp").mkdir()  # of a run that was killed
    save_reward_model(tiny.reward_model(start), folder, tiny.CARD)
    assert not (folder / "model-00001-of-00002.safetensors").exists()
    assert not (start.parent / "rm.tmp").exists()
    load_reward_model(folder)


def test_the_chat_template_marks_turns_as_dialogues_do() -> None:
    from apo.core.dialogue import ASSISTANT, HUMAN

    assert HUMAN.replace("\n", "\\n") in hh_template()
    assert ASSISTANT.replace("\n", "\\n") in hh_template()
