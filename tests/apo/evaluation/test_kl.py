"""divergence.py: KL of two models along answers, by hand and against what the models themselves give."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.evaluation.kl import token_kl, with_kl
from tests.helpers import tiny_models as tiny

ROWS = [
    {
        "query_id": "a",
        "query": tiny.query("What is two plus two?"),
        "samples": ["Four.", "It was a bad day."],
    },
    {"query_id": "b", "query": tiny.query("Hello"), "samples": [""]},
]


def test_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): 1/2 ln 2 + 1/2 ln 2/3; with equal models 0, whatever is added."""
    logits = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    reference = torch.tensor([[0.0, math.log(3)], [5.0, 3.0]])
    wanted = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert token_kl(logits, reference).tolist() == pytest.approx([wanted, 0.0], abs=1e-7)


def test_it_is_not_symmetric() -> None:
    logits, reference = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert token_kl(logits, reference) != token_kl(reference, logits)


def models() -> tuple[Any, Any, Any]:
    return (
        tiny.language_model(seed=1),
        tiny.language_model(seed=2),
        tiny.shared_tokenizer(),
    )


def test_a_model_has_not_moved_from_itself() -> None:
    model, _, tokenizer = models()
    for row in with_kl(model, model, tokenizer, ROWS, tiny.sampling(), desc=""):
        assert row["kl"] == pytest.approx([0.0] * len(row["samples"]), abs=1e-6)


def test_it_is_the_sum_over_the_places_of_the_answer_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer alone, without padding, place by place; a blank answer has the place of its end."""
    model, other, tokenizer = models()
    found = with_kl(model, other, tokenizer, ROWS, tiny.sampling(), desc="")

    def next_token(one: Any, ids: list[int]) -> Tensor:
        with torch.no_grad():
            found: Tensor = one(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
        return found

    for row in found:
        prompt = tokenizer(row["query"], add_special_tokens=False)["input_ids"]
        for text, kl, tokens in zip(row["samples"], row["kl"], row["tokens"], strict=True):
            whole = tokenizer(f"{row['query']} {text}" if text else row["query"], add_special_tokens=False)
            ids = [tokenizer.bos_token_id, *whole["input_ids"], tokenizer.eos_token_id]
            total = 0.0
            for place in range(1 + len(prompt), len(ids)):
                p, q = next_token(model, ids[:place]), next_token(other, ids[:place])
                total += float((p.exp() * (p - q)).sum())
            assert tokens == len(ids) - 1 - len(prompt)
            assert kl == pytest.approx(total, rel=1e-4) and kl > 0
    monkeypatch.setenv("APO_TOKEN_BUDGET", "1")  # every answer a micro-batch alone
    alone = with_kl(model, other, tokenizer, ROWS, tiny.sampling(), desc="")
    for row, again in zip(found, alone, strict=True):
        assert again["tokens"] == row["tokens"] and again["kl"] == pytest.approx(row["kl"], rel=1e-4)
