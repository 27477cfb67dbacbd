"""Sections `score` and `gate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Section


class Gate(Section):
    max_ece: Annotated[float, Field(ge=0.0, le=1.0)]
    bins: Annotated[int, Field(ge=2, multiple_of=2)]  # with an odd number both orders cancel in the middle


class Score(Section):
    backend: Literal["transformers", "vllm"]
    extra_answers: bool
