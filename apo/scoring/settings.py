"""Sections `score` and `gate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, Section


class Gate(Section):
    max_ece: Annotated[float, Field(ge=0.0, le=1.0)]
    bins: Count


class Score(Section):
    backend: Literal["transformers", "vllm"]
    extra_answers: bool
