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
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    pipeline,
)

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.model.checkpoint import is_reward_model, load_reward_model, start_reward_model
from apo.model.reward_model import rate
from apo.model.settings import Model
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import SIZES, tokenizer

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
    [found] = rewards(text, function_to_apply="none", add_special_tokens=False)
    return float(found["score"])


@pytest.mark.parametrize("snippet", [by_template, by_text, by_pipeline])
@pytest.mark.parametrize("name", MODELS)
def test_rewards_are_those_of_the_publishers_code(name: str, snippet: Any, tmp_path: Path) -> None:
    folder = foreign(name, tmp_path / "rm")
    assert is_reward_model(folder)
    model = load_reward_model(folder, foreign=READING).eval()
    found = rate(model, list(model.encoder.items([(q, ANSWERS) for q in QUERIES], Counter(), where="")))
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    reader = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for query, rewards in zip(QUERIES, found, strict=True):
            for answer, reward in zip(ANSWERS, rewards, strict=True):
                dialogue = [*dialogue_to_messages(query), {"role": "assistant", "content": answer}]
                assert reward == pytest.approx(snippet(theirs, reader, dialogue), abs=1e-4)


def test_the_head_of_a_reward_model_is_kept_as_a_start(tmp_path: Path) -> None:
    folder = foreign("qwen2", tmp_path / "rm")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    started = start_reward_model(folder, READING, seed=1)
    assert torch.equal(started.classifier.score.weight, theirs.score.weight)


def test_two_labels_are_refused(tmp_path: Path) -> None:
    folder = foreign("qwen2", tmp_path / "rm")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for load in (
        lambda: load_reward_model(folder, foreign=READING),
        lambda: start_reward_model(folder, READING, seed=1),
    ):
        with pytest.raises(UserError, match="found a classifier with 2 labels; expected a reward model"):
            load()


def test_a_foreign_reward_model_is_refused_where_one_of_ours_is_meant(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a reward model of this pipeline"):
        load_reward_model(foreign("qwen2", tmp_path / "rm"))
