"""Section `evaluate` of params.yaml."""

from typing import Annotated

from pydantic import Field

from apo.core.config import Section


class Evaluate(Section):
    bootstrap: Annotated[int, Field(ge=100)]
