"""A small policy, its rankings and settings for alignment."""

from typing import Any

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.settings import Align
from apo.training.ranked_responses import RankedResponses
from tests.helpers import tiny_models as tiny


def settings(method: str, **changes: Any) -> Align:
    defaults = {
        "method": method,
        "beta": 0.2,
        "rank_weight": 2.0,
        "sft_weight": 0.5,
        "max_length": 64,
        "lora": tiny.NO_LORA,
    }
    align: Align = tiny.optimizer(Align, **(defaults | changes))
    return align


def policy(seed: int = 1) -> ResponseLikelihood:
    return ResponseLikelihood(tiny.language_model(seed), pad_id=3, max_length=64)


def rankings(seed: int = 2, counts: tuple[int, ...] = (4, 2, 3, 2, 4, 3, 2, 4)) -> list[RankedResponses]:
    """Random ids; scores fall, with a tie in the middle where there is one."""
    return [
        RankedResponses(item, [2.0, *[1.0] * (len(item.responses) - 2), -1.0])
        for item in tiny.random_items(seed, list(counts))
    ]
