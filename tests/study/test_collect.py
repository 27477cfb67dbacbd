"""study/collect.py: what is read off responses."""

import pytest

from apo.evaluation.compare_llms import with_true_rewards
from study.collect import chosen_of, golden_against_samples, points

SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"


def test_points_by_hand() -> None:
    # Right and plain: 1.5 for content, 0.5 as no instruction is given. Wrong: -1 for content.
    numbers = points([(SUM, " Two plus three is five."), (SUM, " Two plus three is four."), (SUM, " ...")])
    assert numbers["content"] == pytest.approx((1.5 - 1.0) / 2)
    assert (numbers["instruction"], numbers["tone"], numbers["blank"]) == (0.5, 0.0, 1)


def test_golden_against_samples_by_hand() -> None:
    response_set = {
        "query": SUM,
        "responses": [" Two plus three is five.", " Two plus three is four.", " Two plus three is five."],
        "scores": [1.0, 0.0, 0.0],
    }
    numbers = golden_against_samples([response_set])
    assert (numbers["better"], numbers["equal"], numbers["worse"]) == (0.5, 0.5, 0.0)
    assert numbers["golden"] - numbers["sample"] == pytest.approx(2.5 / 2)


def test_chosen_of_is_the_mean_over_all_ways_to_leave_samples_out() -> None:
    texts = [" Two plus three is four.", " Two plus three is five.", " ", " Two plus three is fish."]
    row = {"query": SUM, "samples": texts, "scores": [0.5, 0.1, 9.0, 0.3]}
    rewards = with_true_rewards([row])[0]["true_rewards"]
    first, second, third = rewards[0], rewards[3], rewards[1]  # by score; the blank one is never chosen
    assert third > first
    assert chosen_of([row], 1) == pytest.approx((first + second + third) / 3)
    assert chosen_of([row], 2) == pytest.approx((first + first + second) / 3)
    assert chosen_of([row], 3) == chosen_of([row], 4) == pytest.approx(first)
