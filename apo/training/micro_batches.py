"""The micro-batches of an optimizer step, parted among processes: a function of lengths and numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from apo.model.batching import micro_batches


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch: items of the step by their place in it; where it does not count, its loss weighs 0."""

    indices: list[int]
    counts: bool = True


def assign_micro_batches(
    lengths: Sequence[int], *, world: int, budget: str, tokens: int
) -> list[list[MicroBatch]]:
    """What each process does of a step; every item counts once.

    The items are dealt out in turn, the longest first, and each process parts its own by the token budget.
    All make equally many micro-batches, since they meet in each of them where the weights are parted
    (ZeRO-3): one that has fewer repeats the shortest item of the step without counting it.

    Args:
        lengths: Tokens of the items of the step, at least one.
        world: Number of processes.
        budget, tokens: Of `micro_batches`.

    >>> shares([3, 9, 5], world=2, budget="", tokens=100)
    [[Micro(places=[1, 0], counts=True)], [Micro(places=[2], counts=True)]]
    >>> shares([3], world=2, budget="", tokens=100)[1]
    [Micro(places=[0], counts=False)]
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    parted = []
    for rank in range(world):
        own = order[rank::world]
        groups = micro_batches([lengths[place] for place in own], budget=budget, tokens=tokens)
        parted.append([MicroBatch([own[index] for index in group]) for group in groups])
    most = max(map(len, parted))
    return [share + [MicroBatch(order[-1:], counts=False)] * (most - len(share)) for share in parted]
