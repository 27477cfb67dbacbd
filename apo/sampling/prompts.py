"""What a language model is asked: the queries as its chat template writes them, as ids."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from apo.core.records import Row
from apo.model.checkpoint import load_tokenizer
from apo.model.encoders import language_encoder
from apo.model.encoding import Encoder
from apo.model.limits import check_positions
from apo.sampling.settings import Sampling


class Prompt(NamedTuple):
    """A query with its ids, and the row that it comes from."""

    query_id: str
    ids: list[int]
    row: Row


def sampling_encoder(llm: Path, settings: Sampling) -> Encoder:
    """How the language model in a folder reads the queries that it is asked."""
    tokenizer = load_tokenizer(llm)
    parameter = "sample.PART.max_prompt_tokens"
    total = settings.max_prompt_tokens + settings.max_new_tokens
    check_positions(llm, {f"{parameter} + max_new_tokens": total})
    return language_encoder(llm, tokenizer, max_length=settings.max_prompt_tokens, parameter=parameter)


def encode_prompts(
    encoder: Encoder, rows: Sequence[Row], counts: Counter[str], *, where: str
) -> list[Prompt]:
    """The prompts of rows `{query_id, query}`, in their order.

    Those longer than `max_prompt_tokens` are cut and counted in `prompts_cut`. Those that the chat template
    refuses are left out and counted in `dialogues_dropped`, where the model says so.
    """
    counts["prompts_cut"] += 0
    nothing: list[str] = []
    read = encoder.tokenize(((row["query"], nothing) for row in rows), counts, where=where)
    return [
        Prompt(row["query_id"], encoder.prompt(rendered, counts), row)
        for row, rendered in zip(rows, read, strict=True)
        if rendered
    ]
