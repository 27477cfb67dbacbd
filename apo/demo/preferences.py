"""Preferences by the true reward, and the best possible accuracy on them."""

import math
from collections.abc import Iterable
from typing import Any

from apo.core.errors import UserError
from apo.demo.reward import true_reward


def preference_probability(query: str, a: str, b: str, temperature: float) -> float:
    """Bradley-Terry: P(a is preferred to b) = sigma((true(a) - true(b)) / temperature).

    Args:
        temperature: The noise of the preference, above 0, in units of the reward.

    Raises:
        UserError: The temperature is not above 0, or the query is not one of the demo world.
    """
    if not temperature > 0:
        raise UserError(
            "temperature",
            found=repr(temperature),
            expected="a number above 0",
            do="set it to 1.0, for example",
        )
    margin = (true_reward(query, a) - true_reward(query, b)) / temperature
    if margin < 0:
        return math.exp(margin) / (1 + math.exp(margin))
    return 1 / (1 + math.exp(-margin))


def best_accuracy(rows: Iterable[dict[str, Any]], temperature: float) -> float:
    """The expected accuracy of the true reward: the mean of max(p, 1 - p).

    Args:
        rows: Comparisons of two responses.

    Raises:
        UserError: The rows are empty.
    """
    best = []
    for row in rows:
        a, b = row["responses"]
        p = preference_probability(row["query"], a, b, temperature)
        best.append(max(p, 1 - p))
    if not best:
        raise UserError("comparisons", found="none", expected="at least one", do="pass the rows of a part")
    return math.fsum(best) / len(best)
