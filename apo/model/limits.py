"""Checks of the limits of a checkpoint: positions, embeddings, tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.model.checkpoint_files import read_json

POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
    "n_ctx",
)


def check_positions(folder: Path, lengths: Mapping[str, int]) -> None:
    """Checks that lengths do not exceed the positions of a model.

    A model with absolute positions fails beyond them. A model with rotary positions was not trained beyond
    them.

    Args:
        lengths: Lengths in tokens by the parameter that sets each: `{"align.max_length": 512}`.

    Raises:
        UserError: A length exceeds the positions.
    """
    config = read_json(folder / "config.json")
    config = config.get("text_config") or config
    limits = [config[name] for name in POSITIONS if isinstance(config.get(name), int)]
    if limits:
        check_lengths(lengths, limits[0], model=str(folder))


def check_lengths(lengths: Mapping[str, int], positions: int, *, model: str) -> None:
    """As `check_positions`, for a model with so many positions."""
    for parameter, length in lengths.items():
        if length > positions:
            raise UserError(
                f"params.yaml: {parameter}",
                found=f"{length} tokens with {model}, a model of {positions} positions",
                expected=f"at most {positions}",
                do="lower it",
            )


def check_vocabulary(tokenizer: Any, model: Any, *, where: str) -> None:
    """Raises UserError if a tokenizer has ids for which a model has no embedding."""
    highest = max(tokenizer.get_vocab().values(), default=0)
    rows = model.get_input_embeddings().weight.shape[0]
    if highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise UserError(
            where,
            found=f"a tokenizer with id {highest} ({token!r}) and a model with {rows} embeddings",
            expected="an embedding for every token",
            do="download the checkpoint again: the tokenizer is that of another model",
        )


def check_same_tokens(first: Any, second: Any, *, where: str, other: str) -> None:
    """Raises UserError if two tokenizers have different ids for a token: their models can't be compared."""
    vocab, other_vocab = first.get_vocab(), second.get_vocab()
    different = sorted(
        token for token in vocab.keys() | other_vocab.keys() if vocab.get(token) != other_vocab.get(token)
    )
    if different:
        token = different[0]
        raise UserError(
            where,
            found=f"another tokenizer than in {other}: {token!r} is {vocab.get(token)} here and "
            f"{other_vocab.get(token)} there, and {len(different) - 1} more",
            expected="the same tokens in every LLM of the game",
            do="start the game from one model (actor.start)",
        )
