"""The encoders of reward models and of language models, and the tokens that end a response."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.model.checkpoint_files import read_json
from apo.model.encoding import Encoder
from apo.model.limits import check_positions
from apo.model.settings import Model


def reward_encoder(tokenizer: Any, settings: Model, *, where: str, pad_id: int | None = None) -> Encoder:
    """The encoder of a reward model. It adds missing special tokens to the tokenizer, in place.

    Args:
        pad_id: The padding of a reward model whose head is kept: it is read at the last other token.

    Raises:
        UserError: The pooling needs an end token and the tokenizer has none, or the chat template can't be
            used.
    """
    separator = settings.separator
    if settings.pooling != "last" and tokenizer.eos_token_id is None:
        raise UserError(
            where,
            found=f"a tokenizer without an end token and `model.pooling: {settings.pooling}`",
            expected="an end token after each response",
            do="set `eos_token` in its tokenizer_config.json, or use `model.pooling: last`",
        )
    if separator and tokenizer.convert_tokens_to_ids(separator) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens({"additional_special_tokens": [separator]})
    tokenizer.padding_side, tokenizer.truncation_side = "right", settings.truncation_side
    if pad_id is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id)
    encoder = Encoder(tokenizer, **settings.model_dump())
    if pad_id is None and encoder.template.turn_end[-1:] == [tokenizer.pad_token_id]:
        # `AutoModelForSequenceClassification` pools the last token that is not padding.
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        encoder = Encoder(tokenizer, **settings.model_dump())
    return encoder


def end_ids(*values: int | Iterable[int] | None) -> tuple[int, ...]:
    """The union of end tokens in ascending order; each value is one id, several ids or None."""
    id_lists = [[value] if isinstance(value, int) else list(value or ()) for value in values]
    return tuple(sorted(set(chain.from_iterable(id_lists))))


def read_end_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a response: those of tokenizer, config.json and generation_config.json.

    Raises:
        UserError: None of them has an end token.
    """
    configs = [read_json(folder / name) for name in ("config.json", "generation_config.json")]
    ends = end_ids(tokenizer.eos_token_id, *(content.get("eos_token_id") for content in configs))
    if not ends:
        raise UserError(
            str(folder),
            found="a checkpoint without an end token",
            expected="`eos_token_id` in generation_config.json, config.json or the tokenizer",
            do="set it there: nothing that it generates would end",
        )
    return ends


def language_encoder(folder: Path, tokenizer: Any, *, max_length: int, parameter: str) -> Encoder:
    """The encoder of a language model, for queries and for the responses that it learns.

    Args:
        max_length, parameter: See `Encoder`.

    Raises:
        UserError: The model has no end token, or fewer than max_length positions.
    """
    ends = read_end_ids(folder, tokenizer)
    check_positions(folder, {parameter: max_length})
    return Encoder(tokenizer, max_length, "last", "", "left", ends=ends, parameter=parameter)
