"""The implementations of each job; their libraries are imported only where they run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

Prepare = Callable[..., Callable[[], Any]]  # folder, job, rows -> the function that is timed


@dataclass(frozen=True)
class Way:
    """An implementation of a job.

    Attributes:
        title: Its name in the table.
        function: `module.function` inside this package.
        cost: Estimated time per row in any unit, for the time left.
        grows: Whether it also runs on 2 and 4 times the rows.
        options: Keyword arguments of the function.
    """

    title: str
    function: str
    cost: float
    grows: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Prepare:
        """The function, ready for folder, job and rows."""
        module, _, name = self.function.partition(".")
        return partial(getattr(import_module(f"benchmarks.{module}"), name), **self.options)


def _training(
    authors: float, authors_mb1: float, trl: float, plain: float, packed: float, ours: float
) -> dict[str, Way]:
    return {
        "authors": Way("authors, micro-batch 4", "authors.train", authors, options={"micro_batch": 4}),
        "authors_mb1": Way("authors, micro-batch 1", "authors.train", authors_mb1, False, {"micro_batch": 1}),
        "trl": Way("TRL RewardTrainer, micro-batch 4", "trl_trainer.train", trl),
        "plain": Way("careful plain loop", "plain.train", plain),
        "packed": Way("packed pairs", "packed.train", packed),
        "ours": Way("this project", "ours.train", ours),
    }


WAYS: dict[str, dict[str, Way]] = {
    "train_pairs": _training(5, 2.5, 3, 1.6, 1.1, 1),
    "train_apo": _training(48, 20, 24, 12, 9, 4),
    "score": {
        "authors": Way("authors, micro-batch 16", "authors.score", 2),
        "plain": Way("careful plain loop", "plain.score", 0.5),
        "ours": Way("this project", "ours.score", 0.25),
    },
    "sample": {
        "plain": Way("plain generate loop, 16 prompts", "sampling.plain", 4),
        "ours": Way("this project", "sampling.ours", 3),
    },
    "sample_other": {
        "static": Way(
            "generate, static cache", "sampling.plain", 10, options={"cache_implementation": "static"}
        ),
        "continuous": Way("generate_batch, continuous batching", "sampling.continuous", 20),
        "plain": Way("plain generate loop, 16 prompts", "sampling.plain", 4),
        "ours": Way("this project", "sampling.ours", 3),
    },
    "matmul": {"matmul": Way("a large matrix multiplication", "flops.matmul", 1.0)},
}
