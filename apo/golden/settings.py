"""Section `golden` of params.yaml."""

from apo.core.config import Count, NotNegative, Section
from apo.endpoint.options import RequestOptions


class Golden(Section):
    model: str
    temperature: NotNegative
    max_tokens: Count
    request: RequestOptions
