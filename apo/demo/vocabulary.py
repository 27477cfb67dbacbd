"""All words of the demo world, collected from its tables."""

import re
from collections.abc import Iterator
from typing import Any

from apo.demo import knowledge, parse_queries, requests, templates
from apo.demo.language import words


def _texts(value: Any) -> Iterator[str]:
    """Every string in a nested table."""
    if isinstance(value, str):
        yield re.sub(r"\{\w+\}", " ", value)
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, knowledge.Relation):
        yield from _texts([value.table, value.questions, value.statements])


_TABLES = [
    [value for name, value in vars(module).items() if name.isupper()]
    for module in (requests, knowledge, templates)
]
_QUESTIONS = [
    [template for template, _ in parse_queries.FORMS],
    parse_queries.FOLLOW_UPS,
    parse_queries.FOLLOW_SUMS,
]
_LITERALS = (
    "plus minus bigger smaller than that it is are you can instead because but and or result well goodbye"
)
VOCABULARY = frozenset(
    word for text in _texts([_TABLES, _QUESTIONS, _LITERALS]) for word in words(text) if word[0].isalpha()
)
