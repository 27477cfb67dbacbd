"""Section `model` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Section


class Model(Section):
    max_length: Annotated[int, Field(ge=8)]
    pooling: Literal["last", "eos", "average", "max"]
    separator: str
    truncation_side: Literal["left", "right"]
