"""KL divergence of a language model from the one that it started from, along its own answers."""

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
    """KL[model || reference] of the next token at each position, in nats: sum of p (log p - log q)."""
    p, q = log_softmax(logits.float(), -1), log_softmax(reference.float(), -1)
    return kl_div(q, p, reduction="none", log_target=True).sum(-1)


def with_kl(model: Any, reference: Any, encoder: Encoder, rows: Sequence[Row], *, desc: str) -> list[Row]:
    """Answers `{query_id, query, samples}` with `kl` and `tokens` of each, along the ids that were drawn.

    `kl` is the exact KL between the two models' next-token distributions, in nats, summed over the tokens of
    the answer and its end token, if one was drawn. It estimates KL[model || reference] over whole answers,
    apart from the sampling settings. `tokens` is the number of these tokens.
    """
    items = _items(encoder, rows)
    answer_kls: list[tuple[float, int]] = [(0.0, 0)] * len(items)
    budget = runtime.token_budget()
    lengths = [item.longest for item in items]
    groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))
    pad_id = encoder.tokenizer.pad_token_id
    group_values = distributed.share(
        partial(_kl_of_items, model, reference, [items[i] for i in indices], pad_id) for indices in groups
    )
    with tqdm(total=len(items), desc=desc, unit="answer", disable=None) as progress:
        for indices, values in zip(groups, group_values, strict=True):
            for index, value in zip(indices, values, strict=True):
                answer_kls[index] = value
            progress.update(len(indices))
    remaining = iter(answer_kls)
    rows_with_kl = []
    for row in rows:
        kls = [next(remaining) for _ in row["samples"]]
        rows_with_kl.append({**row, "kl": [kl for kl, _ in kls], "tokens": [count for _, count in kls]})
    return rows_with_kl


@torch.inference_mode()
def _kl_of_items(
    model: Any, reference: Any, items: Sequence[ResponseSet], pad_id: int
) -> list[tuple[float, int]]:
    """KL and number of tokens of each item of a micro-batch."""
    ids, attention, labels = (tensor.to(model.device) for tensor in collate_texts(items, pad_id=pad_id))
    predicted = labels[:, 1:] != IGNORED  # a token is predicted at the position before it
    kl = torch.zeros(predicted.shape, dtype=torch.double, device=ids.device)
    with runtime.explain_oom("APO_TOKEN_BUDGET", runtime.token_budget()):
        with runtime.autocast(model.device):
            logits_pair = [
                llm(input_ids=ids, attention_mask=attention, use_cache=False).logits
                for llm in (model, reference)
            ]
        kl[predicted] = token_kl(*(logits[:, :-1][predicted] for logits in logits_pair)).double()
    return list(zip(kl.sum(1).tolist(), predicted.sum(1).tolist(), strict=True))


def _items(encoder: Encoder, rows: Sequence[Row]) -> list[ResponseSet]:
    """One item per answer: the prompt, and the ids that were drawn with their end token."""
    prompts = encode_prompts(encoder, rows, Counter(), where="answers")
    texts = ((row["query"], row["samples"]) for row in rows)
    tokenized = encoder.tokenize(texts, Counter(), where="answers", allow_blank=True)
    items = []
    for prompt, row, rendered in zip(prompts, rows, tokenized, strict=True):
        if rendered:
            sample_ids = row.get("sample_ids") or [None] * len(rendered.responses)
            responses = encoder.response_ids(rendered, sample_ids)
            items += [ResponseSet(prompt.ids, [response]) for response in responses]
    return items
