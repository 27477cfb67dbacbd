"""Section `judge` of params.yaml."""

from typing import Annotated

from pydantic import Field

from apo.core.config import Count, CountOrZero, NotNegative, Section
from apo.endpoint.options import RequestOptions


class Judge(Section):
    model: str
    prompt: str
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    max_queries: CountOrZero
    temperature: NotNegative
    max_tokens: Count
    request: RequestOptions
    bootstrap: Annotated[int, Field(ge=100)]
