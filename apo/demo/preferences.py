"""Preferences drawn from the true reward, and the accuracy that nobody can beat."""

import math
from collections.abc import Iterable
from typing import Any

from apo.core.errors import UserError
from apo.demo.reward import true_reward


def preference_probability(query: str, a: str, b: str, temperature: float) -> float:
    """Bradley-Terry: P(a is preferred to b) = sigma((true(a) - true(b)) / temperature).

    Args:
        query: A query of the world.
        a: A response.
        b: Another response.
        temperature: The noise of the judgement, above 0, in units of reward.

    Raises:
        UserError: The temperature is not above 0, or the query is not one of the world's.
    """
    if not temperature > 0:
        raise UserError(
            "temperature", found=repr(temperature), expected="a number above 0", do="give e.g. 1.0"
        )
    margin = (true_reward(query, a) - true_reward(query, b)) / temperature
    if margin < 0:
        return math.exp(margin) / (1 + math.exp(margin))
    return 1 / (1 + math.exp(-margin))


def best_accuracy(rows: Iterable[dict[str, Any]], temperature: float) -> float:
    """The expected accuracy of somebody who knows the true reward: the mean of max(p, 1 - p).

    Args:
        rows: Comparisons of two responses.
        temperature: What the preferences were drawn with.

    Raises:
        UserError: There are no comparisons.
    """
    best = []
    for row in rows:
        a, b = row["responses"]
        p = preference_probability(row["query"], a, b, temperature)
        best.append(max(p, 1 - p))
    if not best:
        raise UserError("comparisons", found="none", expected="at least one", do="give the rows of a split")
    return math.fsum(best) / len(best)
