"""apo/demo/preferences.py: Bradley-Terry preferences, and the best accuracy on them."""

import math

import pytest

from apo.core.errors import UserError
from apo.demo import best_accuracy, preference_probability, true_reward
from tests.helpers.demo_world import COMPARISONS, QUERIES, WORLD, dialogue


def test_preference_probability_by_hand() -> None:
    query = dialogue("What is the capital of France?")
    # Right and plain against wrong and plain: 2.5 points apart.
    right, wrong = " It is Paris.", " It is Rome."
    assert preference_probability(query, right, wrong, 1.0) == pytest.approx(1 / (1 + math.exp(-2.5)))
    assert preference_probability(query, wrong, right, 0.5) == pytest.approx(1 / (1 + math.exp(5.0)))
    assert preference_probability(query, right, wrong, 1e-4) == 1.0
    with pytest.raises(UserError, match="above 0"):
        preference_probability(query, right, wrong, 0.0)


def test_comparisons_follow_the_preference_probability() -> None:
    # In each fifth of the range the frequency of "first preferred" is the mean probability, within 4 sigma.
    for temperature in (1.0, 3.0):
        bins: dict[int, list[tuple[float, float]]] = {}
        for row in WORLD.comparisons(QUERIES, temperature, "calibration"):
            p = preference_probability(row["query"], *row["responses"], temperature)
            assert sorted(row["scores"]) == [0.0, 1.0] and row["responses"][0] != row["responses"][1]
            bins.setdefault(min(4, int(5 * p)), []).append((p, row["scores"][0]))
        assert len(bins) == 5
        for pairs in bins.values():
            expected = sum(p for p, _ in pairs)
            spread = math.sqrt(sum(p * (1 - p) for p, _ in pairs))
            assert abs(sum(score for _, score in pairs) - expected) < 4 * spread + 1


def test_best_accuracy_is_that_of_the_true_reward() -> None:
    best = best_accuracy(COMPARISONS, 1.0)
    agree = 0.0
    for row in COMPARISONS:
        a, b = (true_reward(row["query"], response) for response in row["responses"])
        agree += 0.5 if a == b else float((a > b) == (row["scores"][0] == 1.0))
    assert 0.80 < best < 0.85
    assert agree / len(COMPARISONS) == pytest.approx(best, abs=0.05)
    with pytest.raises(UserError, match="found none"):
        best_accuracy([], 1.0)
