"""Sections `backbone` and `actor` of params.yaml."""

from typing import Annotated

from pydantic import Field

from apo.core.config import Count, Positive
from apo.training.settings import Optimizer


class Backbone(Optimizer):
    start: str
    vocab_size: Annotated[int, Field(ge=300)]
    hidden_size: Count
    layers: Count
    heads: Count
    intermediate_size: Count
    rope_theta: Positive
    max_length: Annotated[int, Field(ge=8)]


class FineTuning(Optimizer):
    max_length: Annotated[int, Field(ge=8)]


class Actor(FineTuning):
    start: str
