"""evaluation/kl.py: KL of two models along answers, by hand and against what the models themselves give."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.core.errors import UserError
from apo.evaluation.kl import token_kl, with_kl
from apo.model.encoding import Encoder
from tests.helpers import tiny_models as tiny

ROWS = [
    {
        "query_id": "a",
        "query": tiny.query("What is two plus two?"),
        "samples": ["Four.", "It was a bad day."],
    },
    {"query_id": "b", "query": tiny.query("Hello"), "samples": [""]},
]


def test_token_kl_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): 1/2 ln 2 + 1/2 ln 2/3; with equal models 0, whatever is added."""
    logits = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    reference = torch.tensor([[0.0, math.log(3)], [5.0, 3.0]])
    wanted = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert token_kl(logits, reference).tolist() == pytest.approx([wanted, 0.0], abs=1e-7)


def test_token_kl_is_not_symmetric() -> None:
    logits, reference = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert token_kl(logits, reference) != token_kl(reference, logits)


def test_with_kl_explains_that_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distributions over the vocabulary are its peak."""

    def full(*_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("apo.evaluation.kl.token_kl", full)
    model, other, encoder = models()
    with pytest.raises(UserError, match="APO_TOKEN_BUDGET"):
        with_kl(model, other, encoder, ROWS, desc="")


def models() -> tuple[Any, Any, Encoder]:
    """Two models and how both read."""
    encoder = Encoder(tiny.shared_tokenizer(), 64, "last", "", "left", ends=(2,))
    return tiny.language_model(seed=1), tiny.language_model(seed=2), encoder


def test_token_kl_of_a_model_from_itself_is_zero() -> None:
    model, _, encoder = models()
    for row in with_kl(model, model, encoder, ROWS, desc=""):
        assert row["kl"] == pytest.approx([0.0] * len(row["samples"]), abs=1e-6)


def test_with_kl_sums_over_the_answer_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer alone, without padding, place by place; a blank answer has the place of its end."""
    model, other, encoder = models()
    tokenizer = encoder.tokenizer
    values = with_kl(model, other, encoder, ROWS, desc="")

    def next_token(one: Any, ids: list[int]) -> Tensor:
        with torch.no_grad():
            values: Tensor = one(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
        return values

    for row in values:
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
    alone = with_kl(model, other, encoder, ROWS, desc="")
    for row, again in zip(values, alone, strict=True):
        assert again["tokens"] == row["tokens"] and again["kl"] == pytest.approx(row["kl"], rel=1e-4)


def test_with_kl_follows_the_drawn_ids() -> None:
    """Not those of the text: other pieces of it, and no end where none was drawn."""
    model, other, encoder = models()
    drawn = encoder.tokenizer.convert_tokens_to_ids(["\u2581", "d", "o", "g"])
    row: dict[str, Any] = {"query_id": "a", "query": ROWS[0]["query"], "samples": ["dog", "It was"]}
    [measured] = with_kl(model, other, encoder, [row | {"sample_ids": [drawn, None]}], desc="")
    [plain] = with_kl(model, other, encoder, [row], desc="")
    assert (measured["tokens"][0], plain["tokens"][0]) == (4, 2)  # one piece and its end
    assert (measured["tokens"][1], measured["kl"][1]) == (
        plain["tokens"][1],
        pytest.approx(plain["kl"][1], rel=1e-4),
    )
    [ended] = with_kl(model, other, encoder, [row | {"sample_ids": [[*drawn, 2], None]}], desc="")
    assert ended["tokens"][0] == len(drawn) + 1 and ended["kl"][0] > measured["kl"][0]
    prompt = [1, *encoder.tokenizer(row["query"], add_special_tokens=False)["input_ids"]]
    ids = torch.tensor([prompt + drawn])
    with torch.no_grad():
        p, q = (one(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1) for one in (model, other))
    assert measured["kl"][0] == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4)


def test_with_kl_cuts_a_long_prompt_as_sampling_did() -> None:
    """BOS and the seven last tokens, up to the turn mark."""
    model, other, encoder = models()
    row = {"query_id": "a", "query": tiny.query("What is two plus two? " * 3), "samples": ["dog"]}
    [measured] = with_kl(model, other, replace(encoder, max_length=8), [row], desc="")
    tokenizer = encoder.tokenizer
    prompt = [1, *tokenizer(row["query"], add_special_tokens=False)["input_ids"][-7:]]
    answer = [*tokenizer(" dog", add_special_tokens=False)["input_ids"], 2]
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        p, q = (one(ids).logits[0, 7:-1].double().log_softmax(-1) for one in (model, other))
    assert measured["tokens"] == [2]
    assert measured["kl"] == [pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4)]
