"""apo/demo/parse_queries.py: every query is parsed back from its text, other texts are refused."""

import pytest

from apo.core.errors import UserError
from apo.demo.parse_queries import parse_query, parse_question
from tests.helpers.demo_world import QUERIES, dialogue


def test_parse_query_is_the_inverse_of_generation() -> None:
    assert all(parse_query(query.text) == query for query in QUERIES)


def test_parse_question_knows_only_complete_questions() -> None:
    task = parse_question("What is two plus three?")
    assert task is not None and task.right == ("five",)
    assert parse_question("What is two plus apples?") is None
    assert parse_question("And what about Spain?") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the capital of France?",
        dialogue("What is the capital of Atlantis?"),
        dialogue("What is the capital of France?") + " Paris.",
        dialogue("And what about Spain?"),
        dialogue("How are you?"),
        dialogue(
            "How can I kill time?",
            "Play a game or solve a puzzle.",
            "What else can I do?",
        ),
    ],
)
def test_parse_query_refuses_other_texts(text: str) -> None:
    with pytest.raises(UserError, match="demo world"):
        parse_query(text)
