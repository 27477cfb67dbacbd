"""Reward models of others: their rewards here are those of the code that their publishers show."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    pipeline,
)

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.model.checkpoint import (
    is_reward_model,
    load_reward_model,
    load_tokenizer,
    save_reward_model,
    start_reward_model,
)
from apo.model.reward_model import compute_rewards
from apo.model.settings import Model
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import SIZES, tokenizer
from tests.helpers.checkpoints import DIALOGUES, OWN_TEMPLATE, messages_of, only_a_pickle, rewards

READING = Model(**(tiny.READING | {"max_length": 256}))

QUERIES = [
    tiny.query("What is 1 plus 2?"),
    "\n\nHuman: Tell me a story.\n\nAssistant: Once.\n\nHuman: And then?\n\nAssistant:",
]

ANSWERS = ["3, my friend.", "Once upon a time\nthere was a dog."]
HEAD_DIM = {"head_dim": 16}

MODELS: dict[str, tuple[Any, str]] = {
    "llama, the end of a turn pads": (LlamaConfig, "llama3"),
    "qwen2": (Qwen2Config, "chatml"),
    "qwen3": (Qwen3Config, "qwen3"),
    "gemma2": (Gemma2Config, "gemma"),
    "mistral": (MistralConfig, "zephyr"),
    "gpt_neox": (GPTNeoXConfig, "phi3"),
}


def foreign(name: str, folder: Path) -> Path:
    """A reward model as others publish it: a classifier with one label, and a chat template."""
    kind, family = MODELS[name]
    reader = tokenizer(family)
    pad = reader.convert_tokens_to_ids("<|eot_id|>") if family == "llama3" else reader.pad_token_id
    sizes = SIZES | (HEAD_DIM if kind in (Qwen3Config, Gemma2Config) else {})
    config = kind(vocab_size=len(reader), num_labels=1, pad_token_id=pad, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(config)
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder


def by_template(model: Any, reader: Any, dialogue: list[dict[str, str]]) -> float:
    """The common snippet: the template's ids into the model."""
    ids = reader.apply_chat_template(dialogue, tokenize=True, return_tensors="pt", return_dict=True)
    return float(model(**ids).logits[0][0])


def by_text(model: Any, reader: Any, dialogue: list[dict[str, str]]) -> float:
    """The template's text into the tokenizer, its begin token taken off where the tokenizer adds one."""
    text = reader.apply_chat_template(dialogue, tokenize=False)
    ids = reader(text, return_tensors="pt", add_special_tokens=False)
    return float(model(**ids).logits[0][0])


def by_pipeline(model: Any, reader: Any, dialogue: list[dict[str, str]]) -> float:
    """A text classification without an activation."""
    text = reader.apply_chat_template(dialogue, tokenize=False)
    rewards = pipeline("text-classification", model=model, tokenizer=reader, device="cpu")
    [result] = rewards(text, function_to_apply="none", add_special_tokens=False)
    return float(result["score"])


@pytest.mark.parametrize("snippet", [by_template, by_text, by_pipeline])
@pytest.mark.parametrize("name", MODELS)
def test_load_reward_model_gives_the_rewards_of_the_publishers_code(
    name: str, snippet: Any, tmp_path: Path
) -> None:
    folder = foreign(name, tmp_path / "rm")
    assert is_reward_model(folder)
    model = load_reward_model(folder, default_settings=READING).eval()
    items = list(model.encoder.items([(q, ANSWERS) for q in QUERIES], Counter(), where=""))
    rated = compute_rewards(model, items)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    reader = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for query, rewards in zip(QUERIES, rated, strict=True):
            for answer, reward in zip(ANSWERS, rewards, strict=True):
                dialogue = [*dialogue_to_messages(query), {"role": "assistant", "content": answer}]
                assert reward == pytest.approx(snippet(theirs, reader, dialogue), abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_start_reward_model_starts_with_the_rewards_of_the_publisher(name: str, tmp_path: Path) -> None:
    folder = foreign(name, tmp_path / "rm")
    started = start_reward_model(folder, READING, seed=1).eval()
    items = list(started.encoder.items([(q, ANSWERS) for q in QUERIES], Counter(), where=""))
    loaded = compute_rewards(load_reward_model(folder, default_settings=READING).eval(), items)
    assert compute_rewards(started, items) == [pytest.approx(rewards, abs=1e-4) for rewards in loaded]
    theirs = load_reward_model(folder, default_settings=READING).encoder
    assert items == list(theirs.items([(q, ANSWERS) for q in QUERIES], Counter(), where=""))


def test_start_reward_model_keeps_the_head_that_transformers_loads(tmp_path: Path) -> None:
    folder = foreign("qwen2", tmp_path / "rm")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    started = start_reward_model(folder, READING, seed=1)
    assert torch.equal(started.classifier.score.weight, theirs.score.weight)


def test_load_reward_model_without_settings_refuses_a_foreign_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a reward model of this pipeline"):
        load_reward_model(foreign("qwen2", tmp_path / "rm"))


def classifier(folder: Path, labels: int = 1, template: Any = OWN_TEMPLATE, **changes: Any) -> Path:
    """A classifier as others save it: a template of its own, no word of ours in its config."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    sizes = {"vocab_size": 380, "pad_token_id": 3, "num_labels": labels, **tiny.SIZES, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlamaForSequenceClassification(LlamaConfig(**sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CLASSIFIER_READING = Model(max_length=64, pooling="eos", separator="", truncation_side="left")
OPENED: dict[str, Any] = {
    "started": lambda folder: start_reward_model(folder, CLASSIFIER_READING, seed=1),
    "as it is": lambda folder: load_reward_model(folder, default_settings=CLASSIFIER_READING),
}
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + OWN_TEMPLATE


def test_load_reward_model_of_a_foreign_one_gives_its_rewards(start: Path) -> None:
    """What the stock classes give for its own template, before and after it is saved here."""
    folder = classifier(start.parent / "foreign")
    assert is_reward_model(folder)
    model = load_reward_model(folder, default_settings=CLASSIFIER_READING).eval()
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
    assert load_tokenizer(start.parent / "own").chat_template == OWN_TEMPLATE


def test_start_reward_model_of_a_foreign_one_keeps_its_head(start: Path) -> None:
    folder = classifier(start.parent / "foreign")
    head = load_reward_model(folder, default_settings=CLASSIFIER_READING).classifier.score.weight
    model = start_reward_model(folder, CLASSIFIER_READING, seed=1)
    assert torch.equal(model.classifier.score.weight, head) and model.encoder.pooling == "eos"


def test_load_reward_model_takes_the_padding_token_of_the_config(start: Path) -> None:
    folder = classifier(start.parent / "foreign", pad_token_id=7)
    tokenizer = load_reward_model(folder, default_settings=CLASSIFIER_READING).encoder.tokenizer
    assert tokenizer.pad_token_id == 7


def test_load_reward_model_refuses_several_labels(start: Path) -> None:
    folder = classifier(start.parent / "foreign", labels=3)
    with pytest.raises(UserError, match="found a classifier with 3 labels; expected a reward model"):
        load_reward_model(folder, default_settings=CLASSIFIER_READING)
    with pytest.raises(UserError, match="found a classifier with 3 labels; expected a reward model"):
        start_reward_model(folder, CLASSIFIER_READING, seed=1)


def test_load_reward_model_refuses_a_head_that_is_not_linear(start: Path) -> None:
    settings = {"vocab_size": 380, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = BertConfig(**settings, num_attention_heads=2, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(start.parent / "bert")
    tiny.tokenizer().save_pretrained(start.parent / "bert")
    with pytest.raises(UserError, match="BertForSequenceClassification, which has no linear layer `score`"):
        load_reward_model(start.parent / "bert", default_settings=CLASSIFIER_READING)


def test_load_reward_model_refuses_more_tokens_than_positions(start: Path) -> None:
    folder = classifier(start.parent / "foreign", max_position_embeddings=32)
    only_a_pickle(folder)
    message = r"model\.max_length: found 64 tokens with .*foreign, a model of 32 positions"
    with pytest.raises(UserError, match=message):
        start_reward_model(folder, CLASSIFIER_READING, seed=1)
    classifier(start.parent / "foreign", max_position_embeddings=32)
    with pytest.raises(UserError, match=message):
        load_reward_model(folder, default_settings=CLASSIFIER_READING)


def test_start_reward_model_refuses_a_tokenizer_of_another_model(start: Path) -> None:
    folder = classifier(start.parent / "foreign", vocab_size=300)
    with pytest.raises(UserError, match=r"foreign: found a tokenizer with id 379 .* with 300 embeddings"):
        start_reward_model(folder, CLASSIFIER_READING, seed=1)


# The templates of others


def read_by(model: Any, dialogue: tuple[str, str]) -> str:
    [item] = model.encoder.items([(dialogue[0], [dialogue[1]])], Counter(), where="rows")
    text: str = model.encoder.tokenizer.decode(item.sequence(0))
    return text


@pytest.mark.parametrize("how", OPENED)
def test_reward_models_of_others_read_the_same_date_every_day(how: str, start: Path) -> None:
    folder = classifier(start.parent / "dated", template="{{ strftime_now('%d %b %Y') }}" + OWN_TEMPLATE)
    model = OPENED[how](folder)
    text = read_by(model, DIALOGUES[0])
    assert text.startswith("26 Jul 2024<s>user: What is 1 plus 2?</s>")
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    assert read_by(load_reward_model(start.parent / "rm"), DIALOGUES[0]) == text
    tokenizer = AutoTokenizer.from_pretrained(start.parent / "rm")
    assert tokenizer.apply_chat_template(messages_of(*DIALOGUES[0]), tokenize=False) == text


@pytest.mark.parametrize("how", OPENED)
def test_reward_models_of_others_read_by_the_default_of_several_templates(how: str, start: Path) -> None:
    several = {"default": OWN_TEMPLATE, "tools": "{{ 'tools' }}"}
    model = OPENED[how](classifier(start.parent / "several", template=several))
    assert model.encoder.template.text == OWN_TEMPLATE
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    assert load_tokenizer(start.parent / "rm").chat_template == OWN_TEMPLATE


@pytest.mark.parametrize("how", OPENED)
def test_reward_models_of_others_do_with_a_refused_dialogue_what_the_message_says(
    how: str, start: Path
) -> None:
    folder = classifier(start.parent / "foreign", template=NO_SYSTEM)
    with pytest.raises(UserError, match=r"set refused_dialogues .* its tokenizer_config\.json\) to merge or"):
        rewards(OPENED[how](folder))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"refused_dialogues": "merge"}))
    model = OPENED[how](folder)
    save_reward_model(model, start.parent / "rm", tiny.CARD)
    assert rewards(load_reward_model(start.parent / "rm")) == pytest.approx(rewards(model), abs=1e-6)
