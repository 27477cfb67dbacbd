"""Section `golden` of params.yaml."""

from apo.core.config import Count, NotNegative, Section


class Golden(Section):
    model: str
    temperature: NotNegative
    max_tokens: Count
