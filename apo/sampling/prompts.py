"""Prompts of a language model: the ids of queries, as its chat template writes them."""

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
    """A query with its ids, and its row."""

    query_id: str
    ids: list[int]
    row: Row


def sampling_encoder(llm: Path, settings: Sampling) -> Encoder:
    """The encoder of the language model in a folder, for prompts.

    Raises:
        UserError: The folder is not a checkpoint, or it has too few positions.
    """
    tokenizer = load_tokenizer(llm)
    parameter = "sample.PART.max_prompt_tokens"
    total = settings.max_prompt_tokens + settings.max_new_tokens
    check_positions(llm, {f"{parameter} + max_new_tokens": total})
    return language_encoder(llm, tokenizer, max_length=settings.max_prompt_tokens, parameter=parameter)


def encode_prompts(
    encoder: Encoder, rows: Sequence[Row], counts: Counter[str], *, where: str
) -> list[Prompt]:
    """The prompts of rows `{query_id, query}`, in their order.

    Prompts longer than `max_prompt_tokens` are truncated and counted in `prompts_cut`. Their row gets the
    number of ids that are left, `prompt_tokens`: an alignment truncates to as many. Prompts that the chat
    template refuses are dropped and counted in `dialogues_dropped`, if the action of the model is `drop`.

    Raises:
        UserError: The chat template refuses a prompt and the action of the model is `error`.
    """
    counts["prompts_cut"] += 0
    no_responses: list[str] = []
    tokenized = encoder.tokenize(((row["query"], no_responses) for row in rows), counts, where=where)
    prompts = []
    for row, rendered in zip(rows, tokenized, strict=True):
        if rendered:
            cut_before = counts["prompts_cut"]
            ids = encoder.prompt(rendered, counts)
            is_cut = counts["prompts_cut"] > cut_before
            prompts.append(
                Prompt(row["query_id"], ids, row | ({"prompt_tokens": len(ids)} if is_cut else {}))
            )
    return prompts
