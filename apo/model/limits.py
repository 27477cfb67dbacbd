"""What a checkpoint can't do, said before anything is computed with it."""

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
    """Compares lengths with the positions that a model was made for.

    A model with absolute positions fails beyond them; one with rotary positions computes on, but was never
    trained there.

    Args:
        folder: The checkpoint.
        lengths: Tokens by the parameters that set them: `{"align.max_length": 512}`.

    Raises:
        UserError: One is longer.
    """
    config = read_json(folder / "config.json")
    config = config.get("text_config") or config
    known = [config[name] for name in POSITIONS if isinstance(config.get(name), int)]
    for parameter, length in lengths.items():
        if known and length > known[0]:
            raise UserError(
                f"params.yaml: {parameter}",
                found=f"{length} tokens with {folder}, a model of {known[0]} positions",
                expected=f"at most {known[0]}",
                do="lower it",
            )


def check_vocabulary(tokenizer: Any, model: Any, *, where: str) -> None:
    """Raises UserError where a tokenizer has ids that a model has no embedding for."""
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
    """Raises UserError where two tokenizers give a token another id: their models can't be compared."""
    mine, others = first.get_vocab(), second.get_vocab()
    different = sorted(token for token in mine.keys() | others.keys() if mine.get(token) != others.get(token))
    if different:
        token = different[0]
        raise UserError(
            where,
            found=f"another tokenizer than in {other}: {token!r} is {mine.get(token)} here and "
            f"{others.get(token)} there, and {len(different) - 1} more",
            expected="the same tokens in every LLM of the game",
            do="start the game from one model (actor.start)",
        )
