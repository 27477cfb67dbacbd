"""apo/model/unpadded.py: no padding is computed, and attention in parts is attention under a mask."""

import pytest
import torch
from transformers import LlamaConfig

from apo.model import unpadded
from apo.model.batching import collate, packed_length
from apo.model.encoding import ResponseSet
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import SMALL


def test_unpadded_layers_see_no_padding() -> None:
    """Layers see the tokens of the trees, and no other."""
    config = LlamaConfig(**SMALL | {"num_hidden_layers": 3}, num_key_value_heads=2)
    model, seen = tiny.wrapped(config, pooling="last"), []
    model.classifier.base_model.layers[0].mlp.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape)
    )
    items = [ResponseSet([1, 10, 11], [[20], [21, 22, 23, 24]]), ResponseSet([1], [[30]])]
    model.rewards(items)
    assert seen == [(8 + 2, 32)]


def test_trees_of_by_hand() -> None:
    """Blank responses and a query without tokens make no empty part."""
    items = [ResponseSet([1, 2], [[5], [], [6, 7]]), ResponseSet([], [[5, 6], [7]]), ResponseSet([1], [[]])]
    trees = unpadded.trees_of(collate(items, pad_id=0))
    assert trees == [(0, 2, [3, 5]), (5, 5, [7, 8]), (8, 9, [])]


@pytest.mark.parametrize("sizes", [[0], [3], [3, 0, 7], [40, 1, 2, 90]])
@pytest.mark.parametrize("query", [0, 1, 70])
def test_tree_attention_equals_attention_under_a_mask(query: int, sizes: list[int]) -> None:
    items = [ResponseSet([7] * query, [[8] * size for size in sizes]), ResponseSet([7] * 5, [[8], [9, 9]])]
    batch = collate([ResponseSet(i.prefix, [[1] * len(r) for r in i.responses]) for i in items], pad_id=0)
    trees, total = unpadded.trees_of(batch), sum(map(packed_length, items))
    generator = torch.Generator().manual_seed(query + len(sizes))
    given = torch.randn(4, total, 3, 8, dtype=torch.float64, generator=generator)
    outward, *states = given.requires_grad_().unbind()
    attended = unpadded.TreeAttention.apply(*states, trees, 0.3)
    visible = torch.zeros(total, total, dtype=torch.bool)
    for tree, mask, item in zip(trees, batch.attention[:, 0], items, strict=True):
        length = packed_length(item)
        visible[tree.start : tree.start + length, tree.start : tree.start + length] = mask[:length, :length]
    scores = torch.einsum("ihd,jhd->hij", states[0], states[1]) * 0.3
    expected = torch.einsum(
        "hij,jhd->ihd", scores.masked_fill(~visible, float("-inf")).softmax(-1), states[2]
    )
    assert torch.allclose(attended, expected, rtol=0, atol=1e-12)
    ours, theirs = (
        torch.autograd.grad((one * outward.detach()).sum(), given, retain_graph=True)[0]
        for one in (attended, expected)
    )
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)
    assert ours[1:].abs().max() > 0.1
