"""apo/demo/generate_queries.py: random queries of every family, reproducible by their generator."""

import random

from apo.demo.generate_queries import draw_query, draw_question
from apo.demo.knowledge import RELATIONS
from apo.demo.parse_queries import parse_question
from tests.helpers.demo_world import QUERIES


def test_draw_query_has_all_families_instructions_and_lengths() -> None:
    families = {query.task.family for query in QUERIES}
    assert families == {*RELATIONS, "arithmetic", "compare", "list", "advice", "harm"}
    assert {query.instruction for query in QUERIES} == {
        *("", "one_word", "one_sentence", "two_sentences", "start", "end")
    }
    single_turn = sum(query.text.count("Human:") == 1 for query in QUERIES) / len(QUERIES)
    assert 0.5 < single_turn < 0.8


def test_draw_query_depends_on_the_generator_alone() -> None:
    first, second = ([draw_query(random.Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == second and len({query.text for query in first}) > 40


def test_draw_question_needs_no_earlier_turn() -> None:
    rng = random.Random(1)
    assert all(parse_question(draw_question(rng)) for _ in range(300))
