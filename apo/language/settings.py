"""Sections `backbone` and `actor` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, Positive
from apo.training.settings import Optimizer


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
