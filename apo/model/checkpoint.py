"""Loads and saves checkpoints: Hugging Face folders, safetensors only, no remote code, no network."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from apo.core.errors import UserError
from apo.model.checkpoint_files import atomic_folder, check_checkpoint, explain_load_errors, write_model
from apo.model.encoding import Encoder
from apo.model.pooling import POOLINGS
from apo.model.reward_model import RewardModel

Writer = Callable[[Path], None]

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

# '\n\nHuman: ...\n\nAssistant: ...', the text that is scored, with a single space before the last response.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '\\n\\nHuman: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '\\n\\nAssistant:' }}{% if loop.last %}{{ SEPARATOR }}"
    "{% if message['content'] | trim %}{{ ' ' + message['content'] | trim }}{% endif %}{{ END }}"
    "{% else %}{{ ' ' + message['content'] }}{% endif %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\n\\nAssistant:' }}{% endif %}"
)


def _chat_template(*, separator: str, end: str) -> str:
    return CHAT_TEMPLATE.replace("{{ SEPARATOR }}", separator).replace("{{ END }}", end)


def load_tokenizer(folder: Path) -> Any:
    """Loads the tokenizer of a checkpoint.

    A missing pad token becomes the unknown token, or the end token if there is no unknown token.

    Raises:
        UserError: The folder is not a checkpoint, or the tokenizer has no pad, unknown or end token.
    """
    check_checkpoint(folder)
    return open_tokenizer(folder)


def open_tokenizer(folder: Path) -> Any:
    """Loads a tokenizer as `load_tokenizer` does, from a folder with or without a model."""
    with explain_load_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        pad_token = tokenizer.unk_token or tokenizer.eos_token
        if pad_token is None:
            raise UserError(
                str(folder),
                found="a tokenizer without pad, unknown and end token",
                expected="one of them for padding",
                do="set `pad_token` in its tokenizer_config.json",
            )
        tokenizer.pad_token = pad_token
    return tokenizer


def prepare_tokenizer(tokenizer: Any, *, pooling: str, separator: str, where: str) -> None:
    """Adds the special tokens of a reward model to a tokenizer, in place.

    Args:
        tokenizer: The tokenizer of the start checkpoint.
        pooling: See `Encoder`.
        separator: See `Encoder`.
        where: The checkpoint, for messages.

    Raises:
        UserError: The pooling needs an end token and the tokenizer has none.
    """
    if pooling != "last" and tokenizer.eos_token_id is None:
        raise UserError(
            where,
            found=f"a tokenizer without an end token and `model.pooling: {pooling}`",
            expected="an end token after each response",
            do="set `eos_token` in its tokenizer_config.json, or use `model.pooling: last`",
        )
    if separator and tokenizer.convert_tokens_to_ids(separator) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens({"additional_special_tokens": [separator]})
    if pooling == "eos" and tokenizer.pad_token_id == tokenizer.eos_token_id:
        # `AutoModelForSequenceClassification` pools the last token that is not padding, here the end token.
        tokenizer.add_special_tokens({"pad_token": "<pad>"})


def load_language_model(folder: Path) -> Any:
    """Loads a causal language model in float32."""
    return _load(AutoModelForCausalLM, folder)


def new_language_model(tokenizer: Any, *, seed: int, rope_theta: float, **sizes: int) -> Any:
    """Creates a small Llama with random weights, which depend on the seed only."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        **sizes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save_language_model(
    model: Any, tokenizer: Any, folder: Path, card: str, more: Writer | None = None
) -> None:
    """Saves a language model with its tokenizer and model card, atomically.

    A tokenizer without a chat template gets the template of this pipeline, with an end token after the last
    answer.

    Args:
        model: The language model.
        tokenizer: Its tokenizer.
        folder: The folder to create or replace.
        card: The text of the model card.
        more: A function that writes additional files into the folder.
    """
    tokenizer.chat_template = tokenizer.chat_template or _chat_template(separator="", end="{{ eos_token }}")
    with atomic_folder(folder) as temporary:
        write_model(model, temporary)
        tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if more:
            more(temporary)


def _load_classifier(folder: Path, tokenizer: Any, *, new_weights: str = "") -> Any:
    pad_id = tokenizer.pad_token_id
    return _load(AutoModelForSequenceClassification, folder, new_weights, num_labels=1, pad_token_id=pad_id)


def _load(auto_class: Any, folder: Path, new_weights: str = "", **settings: Any) -> Any:
    """Loads a model in float32. Only `new_weights` may be missing. The global random state is unchanged."""
    check_checkpoint(folder)
    with explain_load_errors(folder), torch.random.fork_rng(devices=[]):
        model, info = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **settings,
        )
    missing = sorted(name for name in info["missing_keys"] if name != new_weights)
    if missing:  # transformers initializes them randomly
        raise UserError(
            str(folder),
            found=f"weights without {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            expected="all weights of the model",
            do="download the checkpoint again; a config.json of a different model also causes this",
        )
    return model


def start_reward_model(
    folder: Path,
    *,
    seed: int,
    max_length: int,
    pooling: str,
    separator: str,
    truncation_side: str,
) -> RewardModel:
    """Creates a reward model from a checkpoint, with a linear reward head initialized from the seed.

    The head is normal with standard deviation 1 / sqrt(hidden size + 1). If the checkpoint is a reward model
    (the sequential variant), its head is kept.

    Args:
        folder: The start checkpoint.
        seed: Seed of the head and of the embeddings of added tokens.
        max_length, pooling, separator, truncation_side: See `Encoder`.

    Raises:
        UserError: The folder is not a checkpoint, or the pooling needs an end token and there is none.
    """
    tokenizer = load_tokenizer(folder)
    tokenizer.padding_side, tokenizer.truncation_side = "right", truncation_side
    classifier = _load_classifier(folder, tokenizer, new_weights="score.weight")
    prepare_tokenizer(tokenizer, pooling=pooling, separator=separator, where=str(folder))
    classifier.config.pad_token_id = tokenizer.pad_token_id
    if len(tokenizer) > classifier.get_input_embeddings().num_embeddings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            classifier.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if not hasattr(classifier.config, "apo"):
        head = classifier.score.weight
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(head, std=1 / math.sqrt(head.shape[1] + 1), generator=generator)
    encoder = Encoder(tokenizer, max_length, pooling, separator, truncation_side)
    return RewardModel(classifier, encoder)


def load_reward_model(folder: Path) -> RewardModel:
    """Loads a reward model of this pipeline.

    Raises:
        UserError: The folder is not a reward model of this pipeline.
    """
    tokenizer = load_tokenizer(folder)
    classifier = _load_classifier(folder, tokenizer)
    settings = getattr(classifier.config, "apo", None)
    keys = {"max_length", "pooling", "separator", "truncation_side"}
    if not isinstance(settings, dict) or settings.keys() != keys or settings["pooling"] not in POOLINGS:
        raise UserError(
            str(folder),
            found=f"{settings!r:.120} under the key `apo` of its config.json",
            expected="a reward model of this pipeline",
            do="train it with a train_*_rm stage",
        )
    return RewardModel(classifier, Encoder(tokenizer, **settings))


def save_reward_model(
    model: RewardModel,
    folder: Path,
    card: str,
    more: Writer | None = None,
) -> None:
    """Saves a reward model with its model card, atomically, for `AutoModelForSequenceClassification`.

    That class pools the last token only. With another pooling, `architectures` in config.json names
    `RewardModel`, so that a server refuses the model instead of computing other rewards.

    Args:
        model: The reward model.
        folder: The folder to create or replace.
        card: The text of the model card.
        more: A function that writes additional files into the folder.
    """
    encoder, tokenizer = model.encoder, model.encoder.tokenizer
    end = "" if encoder.pooling == "last" else "{{ eos_token }}"
    tokenizer.chat_template = _chat_template(separator=encoder.separator, end=end)
    config = model.classifier.config
    config.apo = {
        "max_length": encoder.max_length,
        "pooling": encoder.pooling,
        "separator": encoder.separator,
        "truncation_side": encoder.truncation_side,
    }
    with atomic_folder(folder) as temporary:
        architectures = {"architectures": [f"{RewardModel.__module__}.{RewardModel.__name__}"]}
        config_keys = {} if encoder.pooling in ("last", "eos") else architectures
        write_model(model.classifier, temporary, **config_keys)
        tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if more:
            more(temporary)
