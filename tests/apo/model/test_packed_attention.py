"""apo/model/packed_attention.py: attention in parts is attention under a mask."""

import pytest
import torch

from apo.model.batching import collate, packed_length
from apo.model.encoding import ResponseSet
from apo.model.packed_attention import PackedAttention, attention_calls, sequence_bounds


def test_padding_of_a_kernel_call_makes_no_gradient_infinite() -> None:
    """Scores in the thousands, of segments that share a call and differ in length."""
    items = [ResponseSet([7] * 9, [[8] * 3, [8] * 5]), ResponseSet([7] * 5, [[8] * 2, [8] * 4, [9]])]
    sequences, total = sequence_bounds(collate(items, pad_id=0)), sum(map(packed_length, items))
    states = [torch.randn(total, 2, 8, generator=torch.Generator().manual_seed(n)) * 100 for n in range(3)]
    for tensor in states:
        tensor.requires_grad_()
    calls = attention_calls(sequences)
    assert any(not call.rows.real.all() for call in calls if call.causal)
    assert any(not call.columns.real.all() for call in calls if not call.causal)
    PackedAttention.apply(*states, calls, 0.3).sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in states)


def test_attention_calls_group_segments_of_similar_length() -> None:
    items = [ResponseSet([7] * 20, [[8] * 3]), ResponseSet([7] * 19, [[8]]), ResponseSet([7], [[8], [9]])]
    calls = attention_calls(sequence_bounds(collate(items, pad_id=0)))
    assert [(call.causal, call.rows.real.sum(1).tolist()) for call in calls] == [
        (True, [23, 20]),
        (True, [2, 1]),
        (False, [1]),
    ]


def test_sequence_bounds_by_hand() -> None:
    """Blank responses and a query without tokens make no empty part."""
    items = [ResponseSet([1, 2], [[5], [], [6, 7]]), ResponseSet([], [[5, 6], [7]]), ResponseSet([1], [[]])]
    sequences = sequence_bounds(collate(items, pad_id=0))
    assert sequences == [(0, 2, [3, 5]), (5, 5, [7, 8]), (8, 9, [])]


@pytest.mark.parametrize("sizes", [[0], [3], [3, 0, 7], [40, 1, 2, 90]])
@pytest.mark.parametrize("query", [0, 1, 70])
def test_packed_attention_equals_attention_under_a_mask(query: int, sizes: list[int]) -> None:
    items = [ResponseSet([7] * query, [[8] * size for size in sizes]), ResponseSet([7] * 5, [[8], [9, 9]])]
    batch = collate([ResponseSet(i.prefix, [[1] * len(r) for r in i.responses]) for i in items], pad_id=0)
    sequences, total = sequence_bounds(batch), sum(map(packed_length, items))
    generator = torch.Generator().manual_seed(query + len(sizes))
    given = torch.randn(4, total, 3, 8, dtype=torch.float64, generator=generator)
    outward, *states = given.requires_grad_().unbind()
    attended = PackedAttention.apply(*states, attention_calls(sequences), 0.3)
    visible = torch.zeros(total, total, dtype=torch.bool)
    for sequence, mask, item in zip(sequences, batch.attention[:, 0], items, strict=True):
        length = packed_length(item)
        tokens = slice(sequence.start, sequence.start + length)
        visible[tokens, tokens] = mask[:length, :length]
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
