"""Checkpoints in and out: Hugging Face folders, safetensors only, no remote code, no network."""

import contextlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from apo.core.errors import UserError
from apo.model.encoding import Encoder
from apo.model.pooling import POOLINGS
from apo.model.reward_model import RewardModel

Writer = Callable[[Path], None]

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

# '\n\nHuman: ...\n\nAssistant: ...', the text that is scored: a single space before the last response.
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


def _template(*, separator: str, end: str) -> str:
    return CHAT_TEMPLATE.replace("{{ SEPARATOR }}", separator).replace("{{ END }}", end)


def check_checkpoint(folder: Path) -> None:
    """Raises UserError when a folder is no checkpoint that can be loaded safely."""
    if not (folder / "config.json").is_file():
        found = "no config.json in it" if folder.is_dir() else "no such folder"
        raise UserError(
            str(folder),
            found=found,
            expected="a Hugging Face checkpoint",
            do="give the folder that holds config.json and the safetensors files",
        )
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(
            path.name for end in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{end}")
        )
        raise UserError(
            str(folder),
            found="no *.safetensors file" + (f" but {pickles[0]}" if pickles else ""),
            expected="weights as safetensors (pickles are not loaded)",
            do="convert it, if you trust it, with transformers: AutoModelForCausalLM.from_pretrained(FOLDER)"
            ".save_pretrained(NEW_FOLDER), and the tokenizer likewise",
        )


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turns what transformers raises over a broken checkpoint into one message."""
    broken = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
    try:
        yield
    except (*broken, SafetensorError, StrictDataclassError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            str(folder),
            found=f"a checkpoint that does not load ({type(error).__name__}: {reason[:160]})",
            expected="a model and a tokenizer that transformers opens without remote code",
            do="fetch it again, or convert it with the transformers version of requirements.txt",
        ) from None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint, with a pad token that is not the end token where it has one.

    Raises:
        UserError: There is none, or it has neither pad nor unknown token.
    """
    check_checkpoint(folder)
    return open_tokenizer(folder)


def open_tokenizer(folder: Path) -> Any:
    """The same from a folder that need not hold a model."""
    with _readable(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        spare = tokenizer.unk_token or tokenizer.eos_token
        if spare is None:
            raise UserError(
                str(folder),
                found="a tokenizer without pad, unknown and end token",
                expected="one of them for padding",
                do="set `pad_token` in its tokenizer_config.json",
            )
        tokenizer.pad_token = spare
    return tokenizer


def prepare_tokenizer(tokenizer: Any, *, pooling: str, separator: str, where: str) -> None:
    """Adds the tokens that a reward model needs, in place.

    Raises:
        UserError: There is no end token, and the pooling needs one.
    """
    if pooling != "last" and tokenizer.eos_token_id is None:
        raise UserError(
            where,
            found=f"a tokenizer without an end token and `model.pooling: {pooling}`",
            expected="an end token after each response",
            do="set `eos_token` in its tokenizer_config.json, or take `model.pooling: last`",
        )
    if separator and tokenizer.convert_tokens_to_ids(separator) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens({"additional_special_tokens": [separator]})
    if pooling == "eos" and tokenizer.pad_token_id == tokenizer.eos_token_id:
        # `AutoModelForSequenceClassification` pools the last token that is no padding: an end token too.
        tokenizer.add_special_tokens({"pad_token": "<pad>"})


def load_language_model(folder: Path) -> Any:
    """A causal language model in float32."""
    return _load(AutoModelForCausalLM, folder)


def new_language_model(tokenizer: Any, *, seed: int, rope_theta: float, **sizes: int) -> Any:
    """A small Llama with random weights, a function of the seed alone."""
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
    """Writes a language model with its tokenizer and model card, whole or not at all.

    A tokenizer without a chat template gets that of the dialogues here, with an end token after the last
    answer.

    Args:
        more: Writes what else belongs into the folder.
    """
    tokenizer.chat_template = tokenizer.chat_template or _template(separator="", end="{{ eos_token }}")
    with _new_folder(folder) as temporary:
        _write_model(model, temporary)
        tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if more:
            more(temporary)


def _classifier(folder: Path, tokenizer: Any, *, drawn: str = "") -> Any:
    pad_id = tokenizer.pad_token_id
    return _load(AutoModelForSequenceClassification, folder, drawn, num_labels=1, pad_token_id=pad_id)


def _load(kind: Any, folder: Path, drawn: str = "", **settings: Any) -> Any:
    """A model in float32, with all its weights but `drawn`; the global random state stays as it is."""
    check_checkpoint(folder)
    with _readable(folder), torch.random.fork_rng(devices=[]):
        model, info = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **settings,
        )
    missing = sorted(name for name in info["missing_keys"] if name != drawn)
    if missing:  # transformers would draw them at random
        raise UserError(
            str(folder),
            found=f"weights without {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            expected="the weights of the whole model",
            do="fetch the checkpoint again; a config.json that is not its own does the same",
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
    """A reward model on a backbone: a linear reward head drawn from the seed.

    The head is normal with standard deviation 1 / sqrt(hidden size + 1). From a reward model (the
    sequential variant) the head is kept.

    Raises:
        UserError: The folder is no checkpoint, or its tokenizer has no end token where the pooling needs one.
    """
    tokenizer = load_tokenizer(folder)
    tokenizer.padding_side, tokenizer.truncation_side = "right", truncation_side
    classifier = _classifier(folder, tokenizer, drawn="score.weight")
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
    """A reward model that this pipeline saved.

    Raises:
        UserError: The folder is no reward model of this pipeline.
    """
    tokenizer = load_tokenizer(folder)
    classifier = _classifier(folder, tokenizer)
    settings = getattr(classifier.config, "apo", None)
    known = {"max_length", "pooling", "separator", "truncation_side"}
    if not isinstance(settings, dict) or settings.keys() != known or settings["pooling"] not in POOLINGS:
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
    """Writes a reward model with its model card, as `AutoModelForSequenceClassification` opens it.

    That class pools the last token only. A model with another pooling says in `architectures` of its
    config.json that it belongs to ours, so that a server refuses it instead of giving other rewards.

    Args:
        more: Writes what else belongs into the folder.
    """
    encoder, tokenizer = model.encoder, model.encoder.tokenizer
    end = "" if encoder.pooling == "last" else "{{ eos_token }}"
    tokenizer.chat_template = _template(separator=encoder.separator, end=end)
    config = model.classifier.config
    config.apo = {
        "max_length": encoder.max_length,
        "pooling": encoder.pooling,
        "separator": encoder.separator,
        "truncation_side": encoder.truncation_side,
    }
    with _new_folder(folder) as temporary:
        ours = {"architectures": [f"{RewardModel.__module__}.{RewardModel.__name__}"]}
        _write_model(model.classifier, temporary, **({} if encoder.pooling in ("last", "eos") else ours))
        tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if more:
            more(temporary)


def _write_model(model: Any, folder: Path, **more: Any) -> None:
    """Weights and config.json, with `more` in it.

    Transformers 5 names the base of rotary positions in `rope_parameters` alone, where transformers 4 does
    not look: it would read 10000. So it stands beside it as `rope_theta` too; transformers 5 takes it for the
    same.
    """
    model.save_pretrained(folder)
    path = folder / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    base = (written.get("rope_parameters") or {}).get("rope_theta")  # none where layers have their own
    written |= more if base is None else {"rope_theta": base, **more}
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder under a temporary name that takes its place when it is complete.

    Raises:
        UserError: The disk is full, or the folder can't be written to.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            str(folder),
            found=str(getattr(error, "strerror", None) or error)[:120],
            expected="to be able to write a checkpoint",
            do="look at the space on the disk and the rights of the folder; the training itself is kept",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
