"""apo/model/batching.py: a tree gives the rewards and gradients of its separate sequences."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Gemma2Config, LlamaConfig

from apo.model import batching
from apo.model.batching import Batch, collate, micro_batches, packed_length, pad_responses, unpacked
from apo.model.encoding import ResponseSet
from apo.training.trainer import length_bucketed_batches
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import SMALL, TREES, assert_close, gradients, separate

PAD = 3
CONFIGS = TREES | {
    # Without scaled_dot_product_attention, where a mask is added and not applied.
    "llama, eager": LlamaConfig(**SMALL, num_key_value_heads=2, attn_implementation="eager"),
    "gemma2": Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8, sliding_window=64),
}
POOLINGS = ["last", "eos", "average", "max"]


def ragged(pooling: str) -> list[ResponseSet]:
    """Items with 1 to 8 responses as neighbours of each other, the wide ones not the long ones."""
    items = tiny.random_items(5, [1, 8, 2, 3, 4, 5, 6, 7])
    if pooling == "last":
        return items
    return [ResponseSet(item.prefix, [[*response, 2] for response in item.responses]) for item in items]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", CONFIGS)
def test_collate_gives_the_rewards_of_separate_sequences(family: str, pooling: str) -> None:
    model = tiny.wrapped(CONFIGS[family], pooling=pooling)
    items = ragged(pooling)
    expected = [separate(model, item) for item in items]
    expected_gradients = gradients(model, torch.cat(expected))
    assert expected_gradients.keys() == dict(model.named_parameters()).keys()

    rewards = model(collate(items, pad_id=PAD))
    assert rewards.shape == (8, 8)
    for row, item, wanted in zip(rewards, items, expected, strict=True):
        count = len(item.responses)
        assert torch.allclose(row[:count], wanted, rtol=0, atol=1e-5)
        assert (row[count:] == 0).all()
    spread = torch.cat(expected).std()
    assert spread > 1e-3  # rewards differ by far more than the tolerance

    together = torch.cat([row[: len(wanted)] for row, wanted in zip(rewards, expected, strict=True)])
    assert_close(gradients(model, together), expected_gradients)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_unpacked_gives_the_same_rewards(pooling: str) -> None:
    model, items = tiny.wrapped(CONFIGS["llama"], pooling=pooling), ragged(pooling)
    trees = model(collate(items, pad_id=PAD))
    flat = [part for item in items for part in unpacked(item)]
    plain = model(collate(flat, pad_id=PAD))[:, 0]
    together = torch.cat([row[: len(item.responses)] for row, item in zip(trees, items, strict=True)])
    assert torch.allclose(together, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_collate_of_permuted_responses_permutes_rewards(pooling: str) -> None:
    model, item = tiny.wrapped(CONFIGS["llama"], pooling=pooling), ragged(pooling)[1]
    order = [3, 0, 7, 5, 1, 2, 6, 4]
    rewards = model(collate([item], pad_id=PAD))[0]
    permuted = model(collate([ResponseSet(item.prefix, [item.responses[i] for i in order])], pad_id=PAD))[0]
    assert torch.allclose(permuted, rewards[order], rtol=0, atol=1e-5)
    assert not torch.allclose(permuted, rewards, rtol=0, atol=1e-3)


def test_collate_rates_a_blank_response_at_the_end_of_the_query() -> None:
    model = tiny.wrapped(CONFIGS["llama"], pooling="last")
    rewards = model(collate([ResponseSet([1, 10, 11], [[20], [], [21, 22]])], pad_id=PAD))[0]
    assert rewards[1].item() == pytest.approx(separate(model, ResponseSet([1, 10], [[11]])).item(), abs=1e-5)


def test_collate_takes_a_pad_id_inside_a_text_for_a_token() -> None:
    model = tiny.wrapped(CONFIGS["llama"], pooling="last")
    item = ResponseSet([1, 10, PAD, 11], [[20, PAD], [PAD]])
    neighbour = ResponseSet([1, 10, 11, 12, 13, 14], [[20, 21, 22, 23]])
    rewards = model(collate([item, neighbour], pad_id=PAD))[0, :2]
    assert torch.allclose(rewards, separate(model, item), rtol=0, atol=1e-5)


# The tensors, by hand

TREE = ResponseSet([1, 10], [[20, 21], [30]])
OTHER = ResponseSet([1], [[40]])


def by_hand() -> Batch:
    return collate([TREE, OTHER], pad_id=PAD)


def test_collate_ids_and_positions_by_hand() -> None:
    batch = by_hand()
    assert batch.input_ids.tolist() == [[1, 10, 20, 21, 30], [1, 40, PAD, PAD, PAD]]
    assert batch.position_ids[0].tolist() == [0, 1, 2, 3, 2]  # the second response starts again at 2
    assert batch.position_ids[1, :2].tolist() == [0, 1]
    assert batch.mask.tolist() == [[True, True], [True, False]]


def test_collate_attention_by_hand() -> None:
    # Rows see columns: query 1 10, first response 20 21, second response 30.
    assert by_hand().attention[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert by_hand().attention[1, 0, :2].int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    assert by_hand().attention.any(-1).all()  # no row is empty: softmax over nothing is NaN


def test_collate_response_mask_by_hand() -> None:
    assert by_hand().response_mask.int().tolist() == [
        [[1, 1, 1, 1, 0], [1, 1, 0, 0, 1]],
        [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]


def test_pad_responses_by_hand() -> None:
    padded = pad_responses([[3, 1], [2], [4, 5, 6]], 9, torch.long)
    assert padded.dtype == torch.long and padded.tolist() == [[3, 1, 9], [2, 9, 9], [4, 5, 6]]


def test_batch_to_moves_every_tensor() -> None:
    moved = by_hand().to(torch.device("meta"))
    assert {getattr(moved, name).device.type for name in moved.__dataclass_fields__} == {"meta"}


def test_packed_length_counts_the_query_once() -> None:
    assert packed_length(TREE) == 5 and TREE.unpacked_tokens == 7
    assert [packed_length(part) for part in unpacked(TREE)] == [4, 3]


# Micro batches


def test_micro_batches_by_hand() -> None:
    # Longest first; a group of n costs n times its longest. 9: alone (18 > 16); 5 5 5: 15; 4: would be 20.
    assert list(micro_batches([5, 9, 5, 4, 5], budget="APO_TOKEN_BUDGET", tokens=16)) == [[1], [0, 2, 4], [3]]
    assert list(micro_batches([8, 8], budget="APO_TOKEN_BUDGET", tokens=16)) == [[0, 1]]  # exactly the budget
    assert list(micro_batches([8, 8], budget="APO_TOKEN_BUDGET", tokens=15)) == [[0], [1]]
    assert list(micro_batches([], budget="APO_TOKEN_BUDGET", tokens=16)) == []


def test_micro_batches_log_a_budget_smaller_than_an_item_once(capsys: pytest.CaptureFixture[str]) -> None:
    batching._warned.clear()
    assert list(micro_batches([8, 20, 8], budget="APO_TOKEN_BUDGET", tokens=16)) == [[1], [0, 2]]
    list(micro_batches([30], budget="APO_TOKEN_BUDGET", tokens=16))
    assert capsys.readouterr().err == (
        "APO_TOKEN_BUDGET is 16 tokens and an item has 20: such an item is a micro-batch alone\n"
    )


@given(lengths=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 200))
def test_micro_batches_hold_every_item_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(micro_batches(lengths, budget="", tokens=budget))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget


def test_micro_batches_have_under_five_percent_padding_on_hh() -> None:
    """Lengths of real queries and responses, in words; optimizer steps of 16 and 64 comparisons."""
    table = json.loads(Path("benchmarks/hh_lengths.json").read_text())["words"]
    lengths = [query + chosen + rejected for query, chosen, rejected in table] * 16
    for size in (16, 64):
        used = padded = 0
        for step in length_bucketed_batches(lengths, tiny.optimizer(batch_size=size), seed=1):
            for group in micro_batches([lengths[i] for i in step], budget="", tokens=1024):
                of_group = [lengths[step[j]] for j in group]
                used += sum(of_group)
                padded += len(of_group) * max(of_group)
        assert used > 0.95 * padded
