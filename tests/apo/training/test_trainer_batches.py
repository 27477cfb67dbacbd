"""apo/training/trainer.py: which items a step has, and at which learning rate."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apo.training.trainer import (
    BUCKET_STEPS,
    learning_rate,
    length_bucketed_batches,
    warmup_metrics,
)
from tests.helpers import tiny_models as tiny


@given(
    lengths=st.lists(st.integers(1, 300), max_size=200),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**31 - 1),
    period=st.integers(0, 5),
)
def test_length_bucketed_batches_have_every_item_once_an_epoch(
    lengths: list[int], batch_size: int, epochs: int, seed: int, period: int
) -> None:
    settings = tiny.optimizer(batch_size=batch_size, epochs=epochs)
    kinds = [i % period == 0 for i in range(len(lengths))] if period else None
    batches = length_bucketed_batches(lengths, settings, seed=seed, kinds=kinds)
    steps = math.ceil(len(lengths) / batch_size)
    assert len(batches) == epochs * steps
    for epoch in range(epochs):
        part = batches[epoch * steps : (epoch + 1) * steps]
        assert Counter(i for batch in part for i in batch) == Counter(range(len(lengths)))
        assert all(len(batch) <= batch_size for batch in part)
        assert sum(len(batch) < batch_size for batch in part) <= 1
    assert batches == length_bucketed_batches(lengths, settings, seed=seed, kinds=kinds)
    if period == 1:  # one kind: as without kinds
        assert batches == length_bucketed_batches(lengths, settings, seed=seed)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_length_bucketed_batches_have_each_kind_in_proportion(share: float) -> None:
    """Golden > samples are longer than human comparisons: sorted together, they would not meet in a step."""
    generator = torch.Generator().manual_seed(1)
    kinds = (torch.rand(1000, generator=generator) < share).tolist()
    lengths = [500 + i % 97 if kind else 100 + i % 97 for i, kind in enumerate(kinds)]
    batches = length_bucketed_batches(lengths, tiny.optimizer(batch_size=16), seed=1, kinds=kinds)
    full = [sum(kinds[i] for i in batch) for batch in batches if len(batch) == 16]
    for start in range(0, len(full) - BUCKET_STEPS, BUCKET_STEPS):
        bucket = full[start : start + BUCKET_STEPS]
        assert max(bucket) - min(bucket) <= 2
    assert sum(full) / 16 / len(full) == pytest.approx(sum(kinds) / len(kinds), abs=0.01)
    for batch in batches:
        for kind in (True, False):
            of_kind = [lengths[i] for i in batch if kinds[i] == kind]
            assert len(of_kind) < 2 or max(of_kind) - min(of_kind) < 50  # of 97


def test_length_bucketed_batches_differ_by_seed_and_epoch() -> None:
    lengths = list(range(40))
    settings = tiny.optimizer(batch_size=4, epochs=2)
    first, other = (length_bucketed_batches(lengths, settings, seed=seed) for seed in (1, 2))
    assert first != other
    assert first[:10] != first[10:]
    assert first[:10] == length_bucketed_batches(lengths, tiny.optimizer(batch_size=4), seed=1)


def test_length_bucketed_batches_leave_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    length_bucketed_batches(list(range(40)), tiny.optimizer(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_length_bucketed_batches_hold_items_of_like_length() -> None:
    lengths = [i % 64 for i in range(4 * BUCKET_STEPS * 8)]
    batches = length_bucketed_batches(lengths, tiny.optimizer(batch_size=8), seed=1)
    spreads = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert sum(spreads) / len(spreads) < 5  # 8 of 64 lengths drawn at random spread by about 50
    first = [lengths[batch[0]] for batch in batches[:BUCKET_STEPS]]
    assert first != sorted(first)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Warm-up of 4: 1/4, 2/4, 3/4, 4/4 of the peak. Then 4 steps are left: linear 4/4, 3/4, 2/4, 1/4,
        # so that the step after the last would have 0.
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]),
        # (1 - cos(pi * left)) / 2 at left = 1, 3/4, 1/2, 1/4.
        ("cosine", [0.25, 0.5, 0.75, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_learning_rate_by_hand(schedule: str, expected: list[float]) -> None:
    settings = tiny.optimizer(lr=3.0, warmup_steps=4, schedule=schedule)
    rates = [learning_rate(step, 8, settings) for step in range(8)]
    assert rates == pytest.approx([3.0 * part for part in expected])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_learning_rate_at_the_first_and_last_step(schedule: str) -> None:
    settings = tiny.optimizer(lr=2.0, schedule=schedule)
    assert learning_rate(0, 5, settings) == 2.0  # no warm-up: full from the start
    longer = tiny.optimizer(lr=2.0, warmup_steps=10, schedule=schedule)  # than the training
    assert [learning_rate(step, 3, longer) for step in range(3)] == pytest.approx([0.2, 0.4, 0.6])


def test_warmup_metrics_report_a_warmup_as_long_as_the_training() -> None:
    settings = tiny.optimizer(warmup_steps=10)
    assert warmup_metrics(10, settings) == warmup_metrics(3, settings) == {"warmup_only": 1}
    assert warmup_metrics(11, settings) == warmup_metrics(1, tiny.optimizer(warmup_steps=0)) == {}
