"""One query encoded with its responses."""

from collections import Counter
from typing import Any

from apo.model.encoding import Encoder, ResponseSet
from tests.helpers import tiny_models as tiny

QUERY = tiny.query("What is 1 plus 2?")
BOS, EOS = 1, 2
[ASSISTANT] = tiny.shared_tokenizer()("\n\nAssistant:", add_special_tokens=False)["input_ids"]


def encode(
    encoder: Encoder, query: str, *responses: str, counts: Counter[str] | None = None, **options: Any
) -> ResponseSet:
    counter: Counter[str] = Counter() if counts is None else counts
    [item] = encoder.items([(query, list(responses))], counter, where="a.jsonl", **options)
    return item


def learner(max_length: int, **changes: Any) -> Encoder:
    """How a language model reads."""
    return Encoder(
        tiny.shared_tokenizer(), max_length, "last", "", "left", ends=(EOS,), parameter="align.max_length"
    )


def ids_of(text: str) -> list[int]:
    """The pieces of a text, nothing added."""
    ids: list[int] = tiny.shared_tokenizer()(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def fit(max_length: int, *responses: str) -> tuple[ResponseSet | None, Counter[str]]:
    counts: Counter[str] = Counter()
    encoder = learner(max_length)
    [rendered] = encoder.tokenize([(QUERY, list(responses))], counts, where="a.jsonl")
    assert rendered
    return encoder.truncate_query(rendered, counts), counts
