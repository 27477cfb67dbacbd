"""apo/model/reward_model.py: shared-prefix packing gives the rewards and gradients of separate sequences."""

from collections import Counter
from typing import Any

import pytest
import torch
from transformers import BertConfig, MistralConfig, PretrainedConfig

from apo.model import reward_model
from apo.model.batching import collate
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
def test_reward_model_of_a_tree_equals_separate_sequences(family: str, pooling: str, side: str) -> None:
    for count in (1, 2, 8):
        model, item = encoded(TREES[family], pooling, count, max_length=36, truncation_side=side)
        expected = separate(model, item)
        rewards = model.rewards([item])[0]
        assert torch.allclose(rewards, expected, rtol=0, atol=1e-5)
        assert_close(gradients(model, model.rewards([item])[0]), gradients(model, separate(model, item)))


# Backbones that can't take a tree


@pytest.mark.parametrize("pooling", ["last", "average", "max"])
@pytest.mark.parametrize("family", PLAIN)
def test_reward_model_without_shared_prefix_reads_separate_sequences(family: str, pooling: str) -> None:
    model = tiny.wrapped(PLAIN[family], pooling=pooling)
    assert not model.supports_shared_prefix
    items = tiny.random_items(4, [3, 1, 8])
    expected = [separate(model, item) for item in items]
    rewards = model.rewards(items)
    assert rewards.shape == (3, 8)
    for row, item, wanted in zip(rewards, items, expected, strict=True):
        assert torch.allclose(row[: len(item.responses)], wanted, rtol=0, atol=1e-5)
        assert (row[len(item.responses) :] == 0).all()
    assert_close(gradients(model, model.rewards(items[:1])[0]), gradients(model, separate(model, items[0])))
    assert model.tokens(items[0]) >= items[0].unpacked_tokens


@pytest.mark.parametrize("family", TREES)
def test_supports_shared_prefix_of_the_other_families(family: str) -> None:
    model = tiny.wrapped(TREES[family], pooling="last")
    assert model.supports_shared_prefix
    assert model.tokens(ResponseSet([1, 10], [[20, 21], [30]])) == 5


def test_supports_shared_prefix_with_a_window_of_max_length() -> None:
    """`max_length` is 64 here."""
    wide = MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=64)
    assert tiny.wrapped(wide, pooling="last").supports_shared_prefix


def test_supports_shared_prefix_not_of_a_bidirectional_model() -> None:
    assert not tiny.wrapped(BertConfig(**SMALL), pooling="average").supports_shared_prefix


def test_log_unpacked_once_per_model(capsys: pytest.CaptureFixture[str]) -> None:
    reward_model.log_unpacked.cache_clear()
    for _ in range(2):
        tiny.wrapped(PLAIN["bloom"], pooling="last")
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert stderr.startswith("BloomForSequenceClassification does not support shared-prefix packing")


def test_supports_shared_prefix_leaves_no_gradients_and_random_state() -> None:
    """Neither gradients nor random numbers nor the mode."""
    model = tiny.wrapped(TREES["llama"], pooling="last").train()
    state = torch.get_rng_state()
    again = RewardModel(model.classifier, model.encoder)
    assert torch.equal(state, torch.get_rng_state())
    assert again.classifier.training and all(p.grad is None for p in again.parameters())


# Bad input


def test_reward_model_rewards_equal_its_forward_on_collate() -> None:
    model = tiny.wrapped(TREES["llama"], pooling="last")
    items = tiny.random_items(3, [2, 1])
    pad_id = model.encoder.tokenizer.pad_token_id
    assert torch.equal(model.rewards(items), model(collate(items, pad_id=pad_id)))
