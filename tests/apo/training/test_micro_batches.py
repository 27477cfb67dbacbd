"""apo/training/micro_batches.py: items of a step count once, all processes make as many micro-batches."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from apo.model.batching import micro_batches
from apo.training.micro_batches import MicroBatch, assign_micro_batches

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def parted(lengths: list[int], world: int, tokens: int) -> list[list[MicroBatch]]:
    return assign_micro_batches(lengths, world=world, budget="", tokens=tokens)


@given(lengths=LENGTHS, world=st.integers(1, 70), tokens=st.integers(1, 900))
def test_assign_micro_batches_loses_and_doubles_no_item(lengths: list[int], world: int, tokens: int) -> None:
    assigned = parted(lengths, world, tokens)
    assert len(assigned) == world
    assert len({len(share) for share in assigned}) == 1
    counted = Counter(
        place for share in assigned for micro in share if micro.is_real for place in micro.indices
    )
    assert counted == Counter(range(len(lengths)))
    for share in assigned:
        for micro in share:
            assert micro.indices  # what does not count is computed all the same
            padded = len(micro.indices) * max(lengths[place] for place in micro.indices)
            assert padded <= tokens or len(micro.indices) == 1
            assert micro.is_real or lengths[micro.indices[0]] == min(lengths)
    assert any(share[-1].is_real for share in assigned)  # none is computed for nothing on all


@given(lengths=LENGTHS, world=st.integers(1, 9))
def test_assign_micro_batches_balances_items_to_one(lengths: list[int], world: int) -> None:
    sizes = [
        sum(len(micro.indices) for micro in share if micro.is_real) for share in parted(lengths, world, 10**6)
    ]
    assert max(sizes) - min(sizes) <= 1


@given(lengths=LENGTHS, tokens=st.integers(1, 900))
def test_assign_micro_batches_of_one_process_is_the_whole_step(lengths: list[int], tokens: int) -> None:
    (only,) = parted(lengths, 1, tokens)
    assert [m.indices for m in only] == list(micro_batches(lengths, budget="", tokens=tokens))
    assert all(micro.is_real for micro in only)


def test_assign_micro_batches_by_hand() -> None:
    """Longest first, in turn: 9, 5, 1 to the first of two, 7, 3 to the second; 10 tokens a micro-batch."""
    assigned = parted([5, 9, 1, 7, 3], 2, 10)
    assert assigned == [
        [MicroBatch([1]), MicroBatch([0, 2])],
        [MicroBatch([3]), MicroBatch([4])],
    ]
    # Three processes and an item of 5 tokens more than two can take at once.
    assert parted([5, 5, 5, 5], 3, 5) == [
        [MicroBatch([0]), MicroBatch([3])],
        [MicroBatch([1]), MicroBatch([3], is_real=False)],
        [MicroBatch([2]), MicroBatch([3], is_real=False)],
    ]
