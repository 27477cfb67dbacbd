"""apo/alignment/likelihood.py: a tree's log-likelihoods and gradients are those of its separate sequences."""

import doctest

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    PretrainedConfig,
)

from apo.alignment import likelihood
from apo.alignment.likelihood import ResponseLikelihood, predictors
from apo.language.causal_lm import token_loss_sum
from apo.model import runtime
from apo.model.batching import collate_texts, packed_length
from apo.model.encoding import ResponseSet
from tests.helpers import model_families
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import SMALL, assert_close, gradients

TREES = model_families.TREES | {
    "llama, tied": LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=True),
    "gpt2": GPT2Config(vocab_size=380, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    "granite": GraniteConfig(**SMALL, num_key_value_heads=2, logits_scaling=3.0),
}
PLAIN = model_families.PLAIN | {
    "gemma2": Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=12, final_logit_softcapping=3.0
    ),
}
FAMILIES = TREES | PLAIN
OWN_LOGITS = ("granite", "gemma2")


def made(config: PretrainedConfig) -> ResponseLikelihood:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # far from uniform: every token's probability is its own
            nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    return ResponseLikelihood(model.eval(), pad_id=3, max_length=64)


def separate(model: ResponseLikelihood, item: ResponseSet) -> Tensor:
    """Each response behind its query in a batch of its own, through the model's own logits."""
    rows = []
    for response in item.responses:
        ids = torch.tensor([item.prefix + response])
        logs = model.model(input_ids=ids).logits[0].float().log_softmax(-1)
        places = range(len(item.prefix), ids.shape[1])
        rows.append(torch.stack([logs[place - 1, ids[0, place]] for place in places]).sum())
    return torch.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_response_likelihood_of_a_tree_equals_separate_sequences(family: str) -> None:
    model = made(FAMILIES[family])
    items = tiny.random_items(4, [4, 1, 8, 2])
    expected = [separate(model, item) for item in items]
    together = model(items)
    assert together.shape == (4, 8) and together.dtype == torch.float32
    for row, item, logs in zip(together, items, expected, strict=True):
        tokens = torch.tensor([len(response) for response in item.responses])
        count = len(item.responses)
        assert torch.allclose(row[:count] / tokens, logs / tokens, rtol=0, atol=1e-5)
        assert (row[count:] == 0).all()
    for item in items:
        assert_close(gradients(model, model([item])[0]), gradients(model, separate(model, item)))


@pytest.mark.parametrize("family", FAMILIES)
def test_response_likelihood_picks_layout_and_logits_by_family(family: str) -> None:
    model = made(FAMILIES[family])
    assert model.supports_shared_prefix == (family in TREES)
    assert model.head_alone == (family not in OWN_LOGITS)
    item = ResponseSet([1, 10], [[20, 21], [30]])
    assert model.tokens(item) == (5 if family in TREES else 8)


def test_response_likelihood_of_one_response_is_the_loss_of_its_text() -> None:
    """The same number as `apo/language/causal_lm.py` has, which is tested by hand."""
    model = made(TREES["llama"])
    items = tiny.random_items(5, [1, 1, 1, 1])
    ids, attention, labels = collate_texts(items, pad_id=3)
    logits = model.model(input_ids=ids, attention_mask=attention).logits
    torch.testing.assert_close(-model(items).sum(), token_loss_sum(logits, labels), rtol=1e-6, atol=1e-5)


def test_response_likelihood_ignores_other_responses_and_padding() -> None:
    model = made(TREES["llama"])
    first, second = tiny.random_items(6, [5, 2])
    alone = [model([ResponseSet(first.prefix, [response])])[0, 0] for response in first.responses]
    both = model([first, second])
    torch.testing.assert_close(both[0], torch.stack(alone), rtol=1e-6, atol=1e-5)
    order = [3, 0, 4, 1, 2]
    permuted = model([ResponseSet(first.prefix, [first.responses[i] for i in order])])[0]
    torch.testing.assert_close(permuted, both[0, order], rtol=1e-6, atol=1e-5)


def test_predictors_by_hand() -> None:
    assert doctest.testmod(likelihood) == (0, 1)
    items = [ResponseSet([1], [[6], [7, 8]]), ResponseSet([1, 5, 5], [[9, 2]])]
    assert predictors(items, width=6).tolist() == [0, 0, 2, 6 + 2, 6 + 3]


def test_response_likelihood_projects_response_tokens_alone() -> None:
    model = made(TREES["llama"])
    seen: list[tuple[int, ...]] = []
    model.model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    items = tiny.random_items(3, [4, 2])
    model(items)
    assert seen == [(sum(len(r) for item in items for r in item.responses), 32)]
    assert seen[0][0] < sum(map(packed_length, items))


def test_response_likelihood_in_bf16_rounds_layers_and_not_the_projection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made(TREES["llama"])
    items = tiny.random_items(3, [4, 2])
    exact = model(items)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    dtypes: list[torch.dtype] = []
    model.model.lm_head.register_forward_hook(lambda _, ins, out: dtypes.extend((ins[0].dtype, out.dtype)))
    rounded = model(items)
    assert dtypes == [torch.float32] * 2 and rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact) and torch.allclose(rounded, exact, rtol=0.05)


def test_response_likelihood_is_the_same_with_gradient_checkpointing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(TREES["llama"]).train()
    item = tiny.random_items(3, [4])[0]
    kept = gradients(model, model([item])[0])
    monkeypatch.setenv("APO_GRADIENT_CHECKPOINTING", "1")
    runtime.enable_gradient_checkpointing(model.model)
    again = gradients(model, model([item])[0])
    assert all(torch.equal(kept[name], gradient) for name, gradient in again.items())


def test_response_likelihood_has_no_dropout_in_training() -> None:
    model = made(LlamaConfig(**SMALL, attention_dropout=0.5))
    items = tiny.random_items(3, [4])
    assert torch.equal(model.train()(items), model.eval()(items))


def test_response_likelihood_leaves_no_gradients_and_random_state() -> None:
    model = made(TREES["llama"]).train()
    state = torch.get_rng_state()
    again = ResponseLikelihood(model.model, pad_id=3, max_length=64)
    assert torch.equal(state, torch.get_rng_state())
    assert again.model.training and all(p.grad is None for p in again.parameters())
