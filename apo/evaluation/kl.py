"""KL of a language model to the one that it started from, along its own answers."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax
from tqdm import tqdm

from apo.core import distributed
from apo.core.records import Row
from apo.model import runtime
from apo.model.batching import IGNORED, collate_texts, micro_batches
from apo.model.encoding import Encoder, ResponseSet
from apo.sampling.prompts import encode_prompts


def token_kl(
    logits: Float[Tensor, "tok vocab"], reference: Float[Tensor, "tok vocab"]
) -> Float[Tensor, "tok"]:
    """KL[model || reference] of the next token at each place, in nats: sum of p (log p - log q)."""
    p, q = log_softmax(logits.float(), -1), log_softmax(reference.float(), -1)
    return kl_div(q, p, reduction="none", log_target=True).sum(-1)


def with_kl(model: Any, reference: Any, encoder: Encoder, rows: Sequence[Row], *, desc: str) -> list[Row]:
    """Answers `{query_id, query, samples}` with `kl` and `tokens` of each, along the ids that were drawn.

    `kl` is the sum over the places of the answer, with its end where one was drawn, of the exact KL between
    the two models' next tokens, in nats: an estimate of KL[model || reference] over whole answers, up to how
    they were drawn. `tokens` is the number of these places.
    """
    items = _items(encoder, rows)
    found: list[tuple[float, int]] = [(0.0, 0)] * len(items)
    budget = runtime.token_budget()
    lengths = [item.longest for item in items]
    groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))
    pad_id = encoder.tokenizer.pad_token_id
    values = distributed.share(
        partial(_kl_of_items, model, reference, [items[i] for i in indices], pad_id) for indices in groups
    )
    with tqdm(total=len(items), desc=desc, unit="answer", disable=None) as progress:
        for indices, of_items in zip(groups, values, strict=True):
            for index, value in zip(indices, of_items, strict=True):
                found[index] = value
            progress.update(len(indices))
    measured = iter(found)
    return [
        {**row, "kl": [kl for kl, _ in own], "tokens": [count for _, count in own]}
        for row in rows
        for own in [[next(measured) for _ in row["samples"]]]
    ]


@torch.inference_mode()
def _kl_of_items(
    model: Any, reference: Any, items: Sequence[ResponseSet], pad_id: int
) -> list[tuple[float, int]]:
    """KL and number of places of each item of a micro-batch."""
    batch = collate_texts(items, pad_id=pad_id)
    ids, attention, labels = (part.to(model.device) for part in batch)
    with runtime.explain_oom("APO_TOKEN_BUDGET", runtime.token_budget()), runtime.autocast(model.device):
        both = [
            one(input_ids=ids, attention_mask=attention, use_cache=False).logits for one in (model, reference)
        ]
    places = labels[:, 1:] != IGNORED  # the place before a token is where it is predicted
    kl = torch.zeros(places.shape, dtype=torch.double, device=ids.device)
    kl[places] = token_kl(*(logits[:, :-1][places] for logits in both)).double()
    return list(zip(kl.sum(1).tolist(), places.sum(1).tolist(), strict=True))


def _items(encoder: Encoder, rows: Sequence[Row]) -> list[ResponseSet]:
    """Prompt as it was asked, and the ids that were drawn with their end, an item each."""
    prompts = encode_prompts(encoder, rows, Counter(), where="answers")
    texts = ((row["query"], row["samples"]) for row in rows)
    read = encoder.tokenize(texts, Counter(), where="answers", allow_blank=True)
    items = []
    for prompt, row, rendered in zip(prompts, rows, read, strict=True):
        of_texts = [ids + encoder.turn_end for ids in rendered.responses] if rendered else []
        drawn = row.get("sample_ids") or [None] * len(of_texts)
        items += [
            ResponseSet(prompt.ids, [ids if own is None else own])
            for own, ids in zip(drawn, of_texts, strict=True)
        ]
    return items
