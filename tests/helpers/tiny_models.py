"""A tokenizer and models of two layers, made in memory in a fraction of a second."""

import functools
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import new_language_model, save_language_model, start_reward_model
from apo.model.encoding import Encoder, ResponseSet
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.sampling.settings import Sampling
from apo.training.settings import Optimizer

CPU = torch.device("cpu")
CARD = "# A model\n"
SUMS = [
    f"\n\nHuman: What is {a} plus {b}?\n\nAssistant: {a} plus {b} makes {a + b}, my friend."
    for a in range(10)
    for b in range(10)
]
TEXTS = [
    *SUMS,
    "\n\nHuman: Tell me a story about a good dog.\n\nAssistant: Once upon a time a quick brown fox jumped "
    "over the lazy dog. That was a very good day, and a bad one for nobody.",
    "\n\nHuman: Where did you eat?\n\nAssistant: At the café, which was naïve of me.",
]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
READING: dict[str, Any] = {
    "max_length": 64,
    "pooling": "last",
    "separator": "",
    "truncation_side": "left",
}
NO_LORA: dict[str, Any] = {"rank": 0, "alpha": 16.0, "targets": []}


def query(text: str) -> str:
    """One human turn as a query."""
    return f"\n\nHuman: {text}\n\nAssistant:"


def tokenizer() -> Any:
    """A tokenizer of 380 pieces; a new object each time, because a separator is added in place."""
    return train_tokenizer(TEXTS, vocab_size=380)


@functools.cache
def shared_tokenizer() -> Any:
    """The same for those who only read with it."""
    return tokenizer()


def encoder(**changes: Any) -> Encoder:
    """How a reward model reads."""
    return Encoder(shared_tokenizer(), **(READING | changes))


def language_model(seed: int = 1, **sizes: int) -> Any:
    """A Llama with random weights."""
    return new_language_model(shared_tokenizer(), seed=seed, rope_theta=10000.0, **(SIZES | sizes)).eval()


def backbone(folder: Path, seed: int = 1, **sizes: int) -> Path:
    """Such a Llama as a checkpoint."""
    save_language_model(language_model(seed, **sizes), shared_tokenizer(), folder, CARD)
    return folder


def reward_model(folder: Path, seed: int = 1, **changes: Any) -> RewardModel:
    """A reward model on the checkpoint in `folder`, which is written where it is not there."""
    if not folder.exists():
        backbone(folder)
    return start_reward_model(folder, Model(**(READING | changes)), seed=seed).eval()


def wrapped(config: Any, *, pooling: str, seed: int = 0) -> RewardModel:
    """Any classifier of transformers with random weights as a reward model."""
    config.num_labels = 1
    config.pad_token_id = shared_tokenizer().pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = AutoModelForSequenceClassification.from_config(config)
    return RewardModel(classifier, encoder(pooling=pooling)).eval()


def random_items(seed: int, responses: list[int]) -> list[ResponseSet]:
    """Items with random ids (none special) and so many responses each, of 1 to 9 tokens."""
    generator = torch.Generator().manual_seed(seed)

    def ids(longest: int) -> list[int]:
        length = int(torch.randint(1, longest + 1, (), generator=generator))
        drawn: list[int] = torch.randint(4, 380, (length,), generator=generator).tolist()
        return drawn

    return [ResponseSet([1, *ids(12)], [ids(9) for _ in range(number)]) for number in responses]


def optimizer(kind: type[Any] = Optimizer, **changes: Any) -> Any:
    """Settings of a training."""
    values = {
        "optimizer": "adamw",
        "beta2": 0.999,
        "lr": 1.0e-2,
        "epochs": 1,
        "batch_size": 8,
        "warmup_steps": 0,
        "schedule": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "dtype": "float32",
    }
    return kind(**(values | changes))


def sampling(**changes: Any) -> Sampling:
    """Settings of drawing responses: two a query, from the model's own distribution."""
    values = {
        "origin": "actor",
        "backend": "transformers",
        "max_queries": 0,
        "num_samples": 2,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
        "max_new_tokens": 8,
        "max_prompt_tokens": 64,
    }
    return Sampling(**(values | changes))
