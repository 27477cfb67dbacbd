"""Responses of a small model that prefers some tokens."""

from collections import Counter
from typing import Any

import torch

from apo.model.encoding import Encoder
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import encode_prompts
from tests.helpers import tiny_models as tiny

EOS, PAD = 2, 3

QUERIES = [
    ("a", tiny.query("What is 1 plus 2?")),
    ("b", tiny.query("Where?")),
    ("c", tiny.query("Tell me a story about a good dog, a brown fox and a lazy friend of 12345.")),
    ("d", tiny.query("What is 3 plus 4?")),
    ("e", tiny.query("9")),
]


def peaked(*, end: float = 1.0, pad: float = 1.0) -> Any:
    """A model that prefers some tokens, others at other places; `end` and `pad` scale their logits.

    It says no single bytes, so that a text is the sum of its tokens.
    """
    model = tiny.language_model().double()
    with torch.no_grad():
        for name, parameter in model.model.layers.named_parameters():
            parameter *= 10.0 if "norm" not in name else 1.0  # what stands before a token, and where, counts
    head = 0.4 * torch.randn(380, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    head[EOS] *= end
    head[PAD] *= pad
    chunks = tiny.shared_tokenizer().convert_ids_to_tokens(range(380))
    bias = [-1000.0 if piece.startswith("<0x") else 0.0 for piece in chunks]
    model.lm_head.bias = torch.nn.Parameter(torch.tensor(bias, dtype=torch.float64))
    model.lm_head.weight = torch.nn.Parameter(head)  # not the embeddings: they would say the last token again
    return model


def drawn(
    model: Any, queries: Any = QUERIES, *, seed: int = 1, ends: tuple[int, ...] = (EOS,), **settings: Any
) -> tuple[list[list[list[int]]], Counter[str]]:
    """The ids that are drawn for each query, and the counts."""
    counts: Counter[str] = Counter()
    tokenizer = settings.pop("tokenizer", tiny.shared_tokenizer())
    chosen = tiny.sampling(**settings)
    encoder = Encoder(tokenizer, chosen.max_prompt_tokens, "last", "", "left", ends=ends)
    rows = [{"query_id": name, "query": query} for name, query in queries]
    prompts = encode_prompts(encoder, rows, counts, where="rows")
    return sample_responses(model, prompts, chosen, seed=seed, ends=ends, desc="sample"), counts


def sample(model: Any, queries: Any = QUERIES, **settings: Any) -> tuple[Any, Counter[str]]:
    """Responses by query id as they are decoded, and the counts, with `unfinished`."""
    ids, counts = drawn(model, queries, **settings)
    counts["unfinished"] += sum(row[-1] != EOS for rows in ids for row in rows)
    read = tiny.shared_tokenizer().batch_decode
    return {
        name: read(rows, skip_special_tokens=True) for (name, _), rows in zip(queries, ids, strict=True)
    }, counts


def prompt_ids(text: str) -> list[int]:
    ids: list[int] = tiny.shared_tokenizer()(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return [1, *ids]


def greedy(model: Any, prompt: list[int], steps: int, penalty: float = 1.0) -> tuple[str, bool]:
    """The likeliest token again and again, the whole text read anew each time; and whether it ended."""
    ids = list(prompt)
    while len(ids) < len(prompt) + steps:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].clone()
        for token in set(ids):
            logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
        ids.append(int(logits.argmax()))
        if ids[-1] == EOS:
            break
    drawn = ids[len(prompt) :]
    return tiny.shared_tokenizer().decode(drawn, skip_special_tokens=True), drawn[-1] == EOS
