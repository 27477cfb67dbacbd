"""What a golden > sample pair weighs in the training of a game's APO RM: `python -m study.weights [FOLDER]`.

The weight is relative to a human pair, as a part of what `apo.coeff` says. Each optimizer step divides by
its own pairs, so it depends on which comparisons share a step.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch

from apo.core.config import read_section, read_seed
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.model.batching import packed_length
from apo.model.checkpoint import load_reward_encoder
from apo.reward.settings import RewardTraining
from apo.training.trainer import length_bucketed_batches

ORDERS = 20


def relative_weight(steps: Sequence[Sequence[int]], pairs: Sequence[int], kinds: Sequence[bool]) -> float:
    """The weight of a pair of the second kind, summed over the steps, by that of the first.

    Args:
        steps: The items of each step, whose loss is a mean over their pairs.
        pairs: Pairs of each item.
        kinds: The kind of each item.

    >>> relative_weight([[0, 1], [2, 3]], [1, 1, 4, 4], [False, False, True, True])  # 1/8 each, and 1/2 each
    0.25
    """
    weights = {True: 0.0, False: 0.0}
    for step in steps:
        total = sum(pairs[i] for i in step)
        for i in step:
            weights[kinds[i]] += pairs[i] / total
    second, first = (
        weights[kind] / sum(pairs[i] for i in range(len(pairs)) if kinds[i] == kind) for kind in (True, False)
    )
    return second / first


def random_steps(items: int, size: int) -> Iterator[list[list[int]]]:
    """`ORDERS` times the steps of random batches."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(ORDERS):
        order: list[int] = torch.randperm(items, generator=generator).tolist()
        yield [order[i : i + size] for i in range(0, items, size)]


def main(folder: Path) -> None:
    """Prints the weights of the game of a folder."""
    params = folder / "params.yaml"
    seed, settings = read_seed(params), read_section(params, "rm", RewardTraining, defaults="training")
    encoder = load_reward_encoder(folder / "models/rm_base")
    lengths, pairs, kinds = [], [], []
    for kind, name in ((False, "data/split/rm_train.jsonl"), (True, "data/apo/r1.jsonl")):
        rows = list(read_rows(folder / name))
        texts = ((row["query"], row["responses"]) for row in rows)
        for row, item in zip(rows, encoder.items(texts, Counter(), where=name), strict=True):
            lengths.append(packed_length(item))
            pairs.append(sum(a > b for a in row["scores"] for b in row["scores"]))
            kinds.append(kind)
    together, apart = (
        length_bucketed_batches(lengths, settings, seed=seed, kinds=given) for given in (None, kinds)
    )
    by_chance = fmean(
        relative_weight(steps, pairs, kinds) for steps in random_steps(len(pairs), settings.batch_size)
    )
    print(f"sorted together    {relative_weight(together, pairs, kinds):.3f}")
    print(f"each kind by itself {relative_weight(apart, pairs, kinds):.3f}")
    print(f"random batches     {by_chance:.3f}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    except UserError as error:
        sys.exit(f"error: {error}")
