"""Loads and saves checkpoints: Hugging Face folders, safetensors only, no remote code, no network."""

import json
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
from apo.model.chat_template import ChatTemplate
from apo.model.checkpoint_files import check_checkpoint, explain_load_errors, read_json, save_checkpoint
from apo.model.encoders import end_ids, reward_encoder
from apo.model.encoding import Encoder
from apo.model.hh_template import hh_template
from apo.model.limits import check_positions, check_vocabulary
from apo.model.pooling import POOLINGS
from apo.model.reward_model import RewardModel
from apo.model.settings import Model

Writer = Callable[[Path], None]

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)


def load_tokenizer(folder: Path) -> Any:
    """Loads the tokenizer of a checkpoint.

    A missing pad token becomes the unknown token, or the end token if there is no unknown token.

    Raises:
        UserError: The folder is not a checkpoint, or the tokenizer has no pad, unknown or end token.
    """
    check_checkpoint(folder)
    return open_tokenizer(folder)


def open_tokenizer(folder: Path) -> Any:
    """Loads a tokenizer like `load_tokenizer`, from a folder with or without a model."""
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


def load_language_model(folder: Path) -> Any:
    """Loads a causal language model in float32."""
    return _load(AutoModelForCausalLM, folder)[0]


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
    model: Any,
    tokenizer: Any,
    folder: Path,
    card: str,
    save_extra: Writer | None = None,
    *,
    dtype: str = "float32",
) -> None:
    """Saves a language model with its tokenizer and model card, atomically.

    A tokenizer without a chat template gets that of the HH form. The generation config gets all end tokens:
    its own, those of tokenizer and config, and the one that the template writes after an answer. For the
    arguments see `save_checkpoint`.
    """
    tokenizer.chat_template = tokenizer.chat_template or hh_template()
    configs = (model.config, model.generation_config)
    end_tokens = end_ids(tokenizer.eos_token_id, *(config.eos_token_id for config in configs))
    template = ChatTemplate(tokenizer, tokenizer.chat_template, where=str(folder))
    end_tokens = end_ids(end_tokens, template.learned_end(end_tokens)[-1])
    end = list(end_tokens) if len(end_tokens) > 1 else end_tokens[0]

    def save_end(temporary: Path) -> None:
        """In the file: transformers refuses to save some of its values once the loaded object is changed."""
        path = temporary / "generation_config.json"
        content = read_json(path) | {"eos_token_id": end}
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if save_extra:
            save_extra(temporary)

    save_checkpoint(model, tokenizer, folder, card, save_end, dtype=dtype)


def _load_classifier(folder: Path, tokenizer: Any, *, needs_head: bool) -> tuple[Any, bool]:
    """Loads a classifier with one label; returns it and whether the checkpoint has its head.

    Raises:
        UserError: It has several labels, or `needs_head` is set and it has no head.
    """
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or []
    labels = len(config.get("id2label") or [0])
    if labels != 1 and any("Classification" in name for name in architectures):
        raise UserError(
            str(folder),
            found=f"a classifier with {labels} labels",
            expected="a reward model: one label, whose logit is the reward",
            do="name a reward model (`num_labels: 1` in its config.json)",
        )
    new_weights = "" if needs_head else "score.weight"
    options = {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    classifier, missing = _load(AutoModelForSequenceClassification, folder, new_weights, **options)
    if not isinstance(getattr(classifier, "score", None), nn.Linear):
        raise UserError(
            str(folder),
            found=f"{type(classifier).__name__}, which has no linear layer `score`",
            expected="a decoder with a sequence classification head, such as LlamaForSequenceClassification",
            do="name such a checkpoint",
        )
    return classifier, not missing


def _load(auto_class: Any, folder: Path, new_weights: str = "", **options: Any) -> tuple[Any, set[str]]:
    """Loads a model in float32; returns it and the names of weights that the checkpoint lacks.

    Only `new_weights` may be missing. The global random state is unchanged.
    """
    check_checkpoint(folder)
    with explain_load_errors(folder), torch.random.fork_rng(devices=[]):
        model, info = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    if model.config.get_text_config() is not model.config:
        found = f"{type(model).__name__}, which holds a language model beside other parts"
        do = "take a text-only checkpoint of its family"
        raise UserError(str(folder), found=found, expected="a language model alone", do=do)
    missing = sorted(name for name in info["missing_keys"] if name != new_weights)
    if missing:  # transformers initializes them randomly
        raise UserError(
            str(folder),
            found=f"weights without {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            expected="all weights of the model",
            do="download the checkpoint again; a config.json of a different model also causes this",
        )
    return model, set(info["missing_keys"])


def is_reward_model(folder: Path) -> bool:
    """Whether a checkpoint is a classifier, by its config.json."""
    check_checkpoint(folder)
    return names_classifier(folder)


def names_classifier(folder: Path) -> bool:
    """Whether a folder, with or without a model, has a config.json that names a classifier."""
    architectures = read_json(folder / "config.json").get("architectures") or []
    return any("SequenceClassification" in name or "RewardModel" in name for name in architectures)


def start_reward_model(folder: Path, settings: Model, *, seed: int) -> RewardModel:
    """Creates a reward model from a checkpoint, with a linear reward head initialized from the seed.

    The head is normal with standard deviation 1 / sqrt(hidden size + 1). If the checkpoint is a reward model,
    its head is kept.

    Args:
        seed: Seed of the head and of the embeddings of added tokens.

    Raises:
        UserError: The folder is not a checkpoint, or the pooling needs an end token and there is none.
    """
    check_positions(folder, {"model.max_length": settings.max_length})
    tokenizer = load_tokenizer(folder)
    classifier, has_head = _load_classifier(folder, tokenizer, needs_head=False)
    check_vocabulary(tokenizer, classifier, where=str(folder))
    is_read_as_before = has_head and settings.pooling == "last"
    pad_id = read_json(folder / "config.json").get("pad_token_id") if is_read_as_before else None
    encoder = reward_encoder(tokenizer, settings, where=str(folder), pad_id=pad_id)
    classifier.config.pad_token_id = tokenizer.pad_token_id
    if len(tokenizer) > classifier.get_input_embeddings().num_embeddings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            classifier.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if not has_head:
        head = classifier.score.weight
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(head, std=1 / math.sqrt(head.shape[1] + 1), generator=generator)
    return RewardModel(classifier, encoder)


def load_reward_encoder(folder: Path, *, default_settings: Model | None = None) -> Encoder:
    """How the reward model in a folder reads, without its weights; see `load_reward_model`."""
    tokenizer, config = load_tokenizer(folder), read_json(folder / "config.json")
    pad_id, settings = config.get("pad_token_id"), config.get("apo", {})
    keys = {"max_length", "pooling", "separator", "truncation_side"}
    is_from_pipeline = (
        isinstance(settings, dict) and settings.keys() == keys and settings["pooling"] in POOLINGS
    )
    if not is_from_pipeline and not default_settings:
        raise UserError(
            str(folder),
            found=f"{settings!r:.120} under the key `apo` of its config.json",
            expected="a reward model of this pipeline",
            do="train it with a train_*_rm stage",
        )
    if not is_from_pipeline:
        assert default_settings
        check_positions(folder, {"model.max_length": default_settings.max_length})
        settings = {**default_settings.model_dump(), "pooling": "last", "separator": ""}
        if pad_id is None:  # then the library pools the last token, whatever it is
            pad_id = _padding_id(tokenizer, Encoder(tokenizer, **settings).template.turn_end)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id)
    return Encoder(tokenizer, **settings)


def load_reward_model(folder: Path, *, default_settings: Model | None = None) -> RewardModel:
    """Loads a reward model of this pipeline, or any other with one label.

    Args:
        default_settings: Settings for a reward model that this pipeline did not train. It
            pools the last token, as `AutoModelForSequenceClassification` does. None refuses such a model.

    Raises:
        UserError: The folder is not a reward model, or not one of this pipeline.
    """
    encoder = load_reward_encoder(folder, default_settings=default_settings)
    classifier, _ = _load_classifier(folder, encoder.tokenizer, needs_head=True)
    return RewardModel(classifier, encoder)


def _padding_id(tokenizer: Any, turn_end: list[int]) -> int:
    """A token for padding that no sequence ends with."""
    candidates = [tokenizer.unk_token_id, tokenizer.bos_token_id, *range(len(turn_end) + 1)]
    return next(int(token_id) for token_id in candidates if token_id is not None and token_id not in turn_end)


def save_reward_model(
    model: RewardModel,
    folder: Path,
    card: str,
    save_extra: Writer | None = None,
    *,
    dtype: str = "float32",
) -> None:
    """Saves a reward model with its model card, atomically, for `AutoModelForSequenceClassification`.

    That class pools the last token only. With another pooling, `architectures` in config.json names
    `RewardModel`, so that a server refuses the model instead of computing other rewards. For the arguments
    see `save_checkpoint`.
    """
    encoder, tokenizer = model.encoder, model.encoder.tokenizer
    tokenizer.chat_template = encoder.template.text
    config = model.classifier.config
    config.apo = {
        "max_length": encoder.max_length,
        "pooling": encoder.pooling,
        "separator": encoder.separator,
        "truncation_side": encoder.truncation_side,
    }
    architectures = {"architectures": [f"{RewardModel.__module__}.{RewardModel.__name__}"]}
    config_keys = {} if encoder.pooling in ("last", "eos") else architectures
    save_checkpoint(model.classifier, tokenizer, folder, card, save_extra, dtype=dtype, **config_keys)
