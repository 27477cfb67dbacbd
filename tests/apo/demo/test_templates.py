"""apo/demo/templates.py: a phrase around an answer names no answer."""

from apo.demo import templates
from apo.demo.language import mentioned, word_line
from apo.demo.requests import ALTERNATIVES, REASONS
from tests.helpers.demo_world import QUERIES


def test_phrases_name_no_answer() -> None:
    phrases = [
        *(*templates.LEADS, *templates.CLOSINGS, *templates.PLAIN_SECOND, *templates.RUDE, *templates.UNSURE),
        *(*templates.DIGRESSIONS, *templates.INSULTS, *templates.REFUSALS, templates.APOLOGY),
        *(*REASONS, *ALTERNATIVES),
    ]
    line = word_line(" . ".join(phrases))
    for query in QUERIES:
        assert not mentioned(line, query.task.right + query.task.wrong), query.text
