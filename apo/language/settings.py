"""Sections `backbone` and `actor` of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, Positive
from apo.core.errors import UserError
from apo.training.settings import Optimizer

TEXTS = {"backbone": "data/split/documents.jsonl", "actor": "data/split/demonstrations.jsonl"}
"""What `split` writes for a model that starts from texts, without the queries of valid and test."""


class ChatModel(Optimizer):
    """A language model that is trained here or adopted, with the settings of its chat template."""

    start: str
    chat_template: str
    refused_dialogues: Literal["error", "drop", "merge"]


class Backbone(ChatModel):
    vocab_size: Annotated[int, Field(ge=300)]
    hidden_size: Count
    layers: Count
    heads: Count
    intermediate_size: Count
    rope_theta: Positive
    max_length: Annotated[int, Field(ge=8)]


class Actor(ChatModel):
    max_length: Annotated[int, Field(ge=8)]


def is_checkpoint(start: Path, *, section: str) -> bool:
    """Whether a model is the checkpoint in a folder; otherwise it is trained on the texts of `split`.

    Args:
        start: The value of `start` in the section.
        section: A key of `TEXTS`.

    Raises:
        UserError: It is neither a folder nor that file.
    """
    if not start.is_dir() and start != Path(TEXTS[section]):
        raise UserError(
            f"params.yaml: {section}.start",
            found=str(start),
            expected=f"a folder with a checkpoint, or {TEXTS[section]}",
            do="name one of them, or bring the checkpoint; another file could hold queries of valid and test",
        )
    return start.is_dir()
