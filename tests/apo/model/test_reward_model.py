"""reward_model.py, last_layer.py: two layouts, one shortcut, the same rewards and gradients."""

from collections import Counter
from typing import Any

import pytest
import torch
from transformers import BertConfig, LlamaConfig, MistralConfig, PretrainedConfig

from apo.core.errors import UserError
from apo.model import last_token, reward_model, runtime, tree_attention
from apo.model.batching import collate, packed_length
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import PLAIN, SMALL, TREES, assert_close, gradients, separate

QUERY = tiny.query("Tell me a story about a good dog, a brown fox and a lazy friend.")
ANSWERS = [
    "Once upon a time a quick brown fox jumped over the lazy dog.",
    "No.",
    "That was a very good day, and a bad one for nobody.",
    "1 plus 2 makes 3, my friend.",
    "At the café, which was naïve of me.",
    "A dog.",
    "A quick fox, a lazy dog, a good day.",
    "What is 3 plus 4?",
]


def encoded(
    config: PretrainedConfig, pooling: str, count: int, **changes: Any
) -> tuple[RewardModel, ResponseSet]:
    """A model and an item of so many responses, cut as `changes` say."""
    model = tiny.wrapped(config, pooling=pooling)
    model.encoder = tiny.encoder(pooling=pooling, **changes)
    counts: Counter[str] = Counter()
    [item] = model.encoder.items([(QUERY, ANSWERS[:count])], counts, where="")
    assert counts["queries_cut"] == (changes.get("max_length", 64) < 40)
    return model, item


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["last", "eos", "average", "max"])
@pytest.mark.parametrize("family", TREES)
def test_a_cut_tree_of_one_to_eight_responses_is_its_separate_sequences(
    family: str, pooling: str, side: str
) -> None:
    for count in range(1, 9):
        model, item = encoded(TREES[family], pooling, count, max_length=36, truncation_side=side)
        expected = separate(model, item)
        found = model.rewards([item])[0]
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)
        assert_close(gradients(model, model.rewards([item])[0]), gradients(model, separate(model, item)))


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_the_last_layer_for_last_tokens_alone_is_the_whole_layer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.wrapped(TREES[family], pooling="last")
    items = tiny.random_items(3, [2, 8, 1, 5])
    short = model.rewards(items)
    own = gradients(model, short.flatten())
    monkeypatch.setattr(last_token, "can_unpad", lambda *_: False)
    padded = model.rewards(items)
    assert torch.allclose(padded, short, rtol=0, atol=1e-5)
    assert not torch.equal(padded, short)  # another order of the same sums: both ways were taken
    assert_close(gradients(model, padded.flatten()), own)
    monkeypatch.setattr(reward_model, "FAMILY", ())
    whole = model.rewards(items)
    assert torch.allclose(short, whole, rtol=0, atol=1e-5)
    assert not torch.equal(short, torch.zeros_like(short))


@pytest.mark.parametrize("without_padding", [True, False])
def test_the_shortcut_is_taken(without_padding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last MLP sees one token a response, the one before it all."""
    monkeypatch.setattr(last_token, "can_unpad", lambda *_: without_padding)
    config = LlamaConfig(**SMALL | {"num_hidden_layers": 3}, num_key_value_heads=2)
    model = tiny.wrapped(config, pooling="last")
    seen: list[int] = []
    for layer in model.classifier.base_model.layers:
        layer.mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-2]))
    items = tiny.random_items(3, [4])
    model.rewards(items)
    assert seen == [packed_length(items[0])] * 2 + [4]


def test_no_padding_is_computed() -> None:
    """Layers see the tokens of the trees, and no other."""
    config = LlamaConfig(**SMALL | {"num_hidden_layers": 3}, num_key_value_heads=2)
    model, seen = tiny.wrapped(config, pooling="last"), []
    model.classifier.base_model.layers[0].mlp.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape)
    )
    items = [ResponseSet([1, 10, 11], [[20], [21, 22, 23, 24]]), ResponseSet([1], [[30]])]
    model.rewards(items)
    assert seen == [(8 + 2, 32)]


def test_padding_of_a_kernel_call_makes_no_gradient_infinite() -> None:
    """Scores in the thousands, of segments that share a call and differ in length."""
    items = [ResponseSet([7] * 9, [[8] * 3, [8] * 5]), ResponseSet([7] * 5, [[8] * 2, [8] * 4, [9]])]
    trees, total = tree_attention.trees_of(collate(items, pad_id=0)), sum(map(packed_length, items))
    states = [torch.randn(total, 2, 8, generator=torch.Generator().manual_seed(n)) * 100 for n in range(3)]
    for part in states:
        part.requires_grad_()
    calls = tree_attention.attention_calls(trees)
    assert any(not call.rows.real.all() for call in calls if call.causal)
    assert any(not call.columns.real.all() for call in calls if not call.causal)
    tree_attention.TreeAttention.apply(*states, calls, 0.3).sum().backward()
    assert all(torch.isfinite(part.grad).all() for part in states)


def test_trees_by_hand() -> None:
    """Blank responses and a query without tokens make no empty part."""
    items = [ResponseSet([1, 2], [[5], [], [6, 7]]), ResponseSet([], [[5, 6], [7]]), ResponseSet([1], [[]])]
    trees = tree_attention.trees_of(collate(items, pad_id=0))
    assert trees == [(0, 2, [3, 5]), (5, 5, [7, 8]), (8, 9, [])]


@pytest.mark.parametrize("sizes", [[0], [3], [3, 0, 7], [40, 1, 2, 90]])
@pytest.mark.parametrize("query", [0, 1, 70])
def test_attention_in_parts_is_attention_under_a_mask(query: int, sizes: list[int]) -> None:
    items = [ResponseSet([7] * query, [[8] * size for size in sizes]), ResponseSet([7] * 5, [[8], [9, 9]])]
    batch = collate([ResponseSet(i.prefix, [[1] * len(r) for r in i.responses]) for i in items], pad_id=0)
    trees, total = tree_attention.trees_of(batch), sum(map(packed_length, items))
    generator = torch.Generator().manual_seed(query + len(sizes))
    given = torch.randn(4, total, 3, 8, dtype=torch.float64, generator=generator)
    outward, *states = given.requires_grad_().unbind()
    found = tree_attention.TreeAttention.apply(*states, tree_attention.attention_calls(trees), 0.3)
    visible = torch.zeros(total, total, dtype=torch.bool)
    for tree, mask, item in zip(trees, batch.attention[:, 0], items, strict=True):
        length = packed_length(item)
        visible[tree.start : tree.start + length, tree.start : tree.start + length] = mask[:length, :length]
    scores = torch.einsum("ihd,jhd->hij", states[0], states[1]) * 0.3
    expected = torch.einsum(
        "hij,jhd->ihd", scores.masked_fill(~visible, float("-inf")).softmax(-1), states[2]
    )
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    own, theirs = (
        torch.autograd.grad((one * outward.detach()).sum(), given, retain_graph=True)[0]
        for one in (found, expected)
    )
    assert torch.allclose(own, theirs, rtol=0, atol=1e-11)
    assert own[1:].abs().max() > 0.1


# Backbones that can't take a tree


@pytest.mark.parametrize("pooling", ["last", "average", "max"])
@pytest.mark.parametrize("family", PLAIN)
def test_a_backbone_that_takes_no_tree_reads_separate_sequences(family: str, pooling: str) -> None:
    model = tiny.wrapped(PLAIN[family], pooling=pooling)
    assert not model.supports_shared_prefix
    items = tiny.random_items(4, [3, 1, 8])
    expected = [separate(model, item) for item in items]
    found = model.rewards(items)
    assert found.shape == (3, 8)
    for row, item, own in zip(found, items, expected, strict=True):
        assert torch.allclose(row[: len(item.responses)], own, rtol=0, atol=1e-5)
        assert (row[len(item.responses) :] == 0).all()
    assert_close(gradients(model, model.rewards(items[:1])[0]), gradients(model, separate(model, items[0])))
    assert model.tokens(items[0]) >= items[0].unpacked_tokens


@pytest.mark.parametrize("family", TREES)
def test_the_others_take_trees(family: str) -> None:
    model = tiny.wrapped(TREES[family], pooling="last")
    assert model.supports_shared_prefix
    assert model.tokens(ResponseSet([1, 10], [[20, 21], [30]])) == 5


def test_a_window_as_long_as_the_longest_text_takes_trees() -> None:
    """`max_length` is 64 here."""
    wide = MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=64)
    assert tiny.wrapped(wide, pooling="last").supports_shared_prefix


def test_a_model_that_looks_ahead_takes_no_tree() -> None:
    assert not tiny.wrapped(BertConfig(**SMALL), pooling="average").supports_shared_prefix


def test_the_plain_layout_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    reward_model.log_unpacked.cache_clear()
    for _ in range(2):
        tiny.wrapped(PLAIN["bloom"], pooling="last")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("BloomForSequenceClassification does not support shared-prefix packing")


def test_trying_leaves_no_trace() -> None:
    """Neither gradients nor random numbers nor the mode."""
    model = tiny.wrapped(TREES["llama"], pooling="last").train()
    state = torch.get_rng_state()
    again = RewardModel(model.classifier, model.encoder)
    assert torch.equal(state, torch.get_rng_state())
    assert again.classifier.training and all(p.grad is None for p in again.parameters())


# The arithmetic of the device


def test_bf16_rounds_layers_and_not_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    items = tiny.random_items(3, [2, 8, 1, 5])
    exact = model.rewards(items)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    rounded = model.rewards(items)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()
    rounded.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def test_an_unknown_arithmetic_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    monkeypatch.setenv("APO_PRECISION", "fp8")
    with pytest.raises(UserError, match=r"APO_PRECISION: found 'fp8'; expected float32 or bf16"):
        model.rewards(tiny.random_items(3, [2]))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_gradient_checkpointing_changes_no_number(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES[family], pooling="last").train()
    item = tiny.random_items(3, [4])[0]
    kept = gradients(model, model.rewards([item])[0])
    calls: list[int] = []
    model.classifier.base_model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    monkeypatch.setenv("APO_GRADIENT_CHECKPOINTING", "1")
    runtime.enable_gradient_checkpointing(model.classifier)
    computed_again = gradients(model, model.rewards([item])[0])
    assert len(calls) == 2  # once forward, once more for the backward pass
    assert all(torch.equal(kept[name], own) for name, own in computed_again.items())


# Bad input


def test_no_memory_names_the_budget_and_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(UserError, match=r"APO_TOKEN_BUDGET: found no memory .* 2048 .*APO_TOKEN_BUDGET=1024"),
        runtime.explain_oom("APO_TOKEN_BUDGET", 2048),
    ):
        torch.empty(1 << 50)  # a petabyte
    with (
        pytest.raises(UserError, match=r"APO_SAMPLE_BUDGET=8"),
        runtime.explain_oom("APO_SAMPLE_BUDGET", 16),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_another_error_stays_itself() -> None:
    with pytest.raises(RuntimeError, match="shape"), runtime.explain_oom("APO_TOKEN_BUDGET", 2048):
        raise RuntimeError("shape mismatch")


def test_collate_is_what_the_model_reads() -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    items = tiny.random_items(3, [2, 1])
    pad_id = model.encoder.tokenizer.pad_token_id
    assert torch.equal(model.rewards(items), model(collate(items, pad_id=pad_id)))
