"""apo/demo/annotators.py: the expert is perfect, the unaligned author is not."""

import math
import random

import pytest

from apo.demo import true_reward
from apo.demo.annotators import EXPERT, Style, write_response
from apo.demo.parse_queries import parse_query
from tests.helpers.demo_world import QUERIES, WORLD, dialogue


def test_write_response_by_the_expert_has_the_highest_reward() -> None:
    expert = [true_reward(row["query"], row["golden"]) for row in WORLD.golden(QUERIES, 0.0)]
    rounds = [
        [true_reward(row["query"], row["response"]) for row in WORLD.demonstrations(QUERIES, f"try {k}")]
        for k in range(4)
    ]
    mean = math.fsum(rounds[0]) / len(QUERIES)
    best_of_four = math.fsum(max(tries) for tries in zip(*rounds, strict=True)) / len(QUERIES)
    assert min(expert) == 3.0
    assert mean < 1.0
    assert best_of_four > mean + 1.0


@pytest.mark.parametrize(
    ("style", "lower"),
    [
        (Style("wrong", "polite", True, ""), 2.5),
        (Style("right", "rude", True, ""), 2.0),
        (Style("right", "polite", False, ""), 1.25),
        (Style("right", "polite", True, "ramble"), 2.0),  # a second sentence breaks the instruction too
    ],
    ids=["wrong", "rude", "disobeys", "rambles"],
)
def test_write_response_with_a_flaw_lowers_the_reward(style: Style, lower: float) -> None:
    query = parse_query(dialogue("What is the capital of France? Answer in one sentence."))
    for seed in range(20):
        rng = random.Random(seed)
        best = true_reward(query.text, write_response(query, EXPERT.style(rng), rng))
        reward = true_reward(query.text, write_response(query, style, rng))
        assert (best, best - reward) == (3.0, pytest.approx(lower))
