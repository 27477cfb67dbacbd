"""Assigns the micro-batches of an optimizer step to processes, as a function of the lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

from apo.model.batching import micro_batches


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch of an optimizer step.

    Attributes:
        indices: Indices of its items in the step.
        is_real: Whether its loss counts; else the loss has weight 0.
    """

    indices: list[int]
    is_real: bool = True


def assign_micro_batches(
    lengths: Sequence[int], *, world: int, budget: str, tokens: int
) -> list[list[MicroBatch]]:
    """The micro-batches of each process in one step; every item counts once.

    Items are assigned round-robin, the longest first. Each process splits its items by the token budget. All
    processes have the same number of micro-batches, because ZeRO-3 synchronizes them in each one. A process
    with fewer micro-batches repeats the shortest item of the step without counting it.

    Args:
        lengths: Tokens of the items of the step, at least one item.
        budget, tokens: See `micro_batches`.

    >>> assign_micro_batches([3, 9, 5], world=2, budget="", tokens=100)
    [[MicroBatch(indices=[1, 0], is_real=True)], [MicroBatch(indices=[2], is_real=True)]]
    >>> assign_micro_batches([3], world=2, budget="", tokens=100)[1]
    [MicroBatch(indices=[0], is_real=False)]
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    assigned = []
    for rank in range(world):
        items = order[rank::world]
        groups = micro_batches([lengths[item] for item in items], budget=budget, tokens=tokens)
        assigned.append([MicroBatch([items[index] for index in group]) for group in groups])
    count = max(map(len, assigned))
    repeated = MicroBatch(order[-1:], is_real=False)
    return [batches + [repeated] * (count - len(batches)) for batches in assigned]
