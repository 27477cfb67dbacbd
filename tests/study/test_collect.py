"""study/collect.py: what is read off responses."""

import pytest

from study.collect import golden_against_samples, points

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
