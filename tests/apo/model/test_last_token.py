"""apo/model/last_token.py: the last layer for the last tokens alone gives the rewards of the whole layer."""

import pytest
import torch
from transformers import LlamaConfig

from apo.model import last_token, reward_model
from apo.model.batching import packed_length
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import SMALL, TREES, assert_close, gradients


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_last_hidden_equals_the_whole_last_layer(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.wrapped(TREES[family], pooling="last")
    items = tiny.random_items(3, [2, 8, 1, 5])
    short = model.rewards(items)
    short_gradients = gradients(model, short.flatten())
    monkeypatch.setattr(last_token, "can_unpad", lambda *_: False)
    padded = model.rewards(items)
    assert torch.allclose(padded, short, rtol=0, atol=1e-5)
    assert not torch.equal(padded, short)  # another order of the same sums: both ways were taken
    assert_close(gradients(model, padded.flatten()), short_gradients)
    monkeypatch.setattr(reward_model, "FAMILY", ())
    whole = model.rewards(items)
    assert torch.allclose(short, whole, rtol=0, atol=1e-5)
    assert not torch.equal(short, torch.zeros_like(short))


@pytest.mark.parametrize("without_padding", [True, False])
def test_last_hidden_computes_one_token_per_response_in_the_last_layer(
    without_padding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
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
