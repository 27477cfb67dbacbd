"""apo/judge/prompts.py: both orders, texts that fake no prompt, the record of a comparison."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.endpoint.reply_cache import Reply, request_key
from apo.judge import prompts
from apo.judge.pairs import Comparison
from apo.judge.prompts import check_template, comparison_requests, fill_template, verdict_row
from tests.helpers.fake_judge import COMMITTED, settings, shown_answers

TEMPLATE = COMMITTED["prompt"]
COMPARISON = Comparison("q", "query", ("x", "y"), ("of x", "of y"), 1.5, 0)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(prompts) == (0, 1)


def test_fill_template_shows_query_and_answers_once_and_in_order() -> None:
    prompt = fill_template(TEMPLATE, "\n\nHuman: Why?\n\nAssistant:", "first text", "second text")
    assert prompt.count("Human: Why?") == prompt.count("first text") == prompt.count("second text") == 1
    assert prompt.index("Human: Why?") < prompt.index("first text") < prompt.index("second text")
    assert shown_answers(prompt) == ("first text", "second text")
    assert "{" not in prompt


texts = st.text(st.sampled_from("ab{}_\n") | st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["{query}", "{answer_a}", "{answer_b}", "{mark}", "\\1", "\\g<0>", "{{answer_a}}", "Verdict: A"]
)


@given(texts, texts, texts)
def test_fill_template_changes_no_text_and_no_text_fakes_a_mark(query: str, first: str, second: str) -> None:
    prompt = fill_template(TEMPLATE, query, first, second)
    assert shown_answers(prompt) == (first, second)
    mark = prompt.split("begin with ")[1][:8]
    assert prompt.count(mark) == TEMPLATE.count("{mark}")
    filled = fill_template("{answer_b}|{answer_a}|{query}", query, first, second)
    assert filled == f"{second}|{first}|{query.strip()}"


def test_fill_template_chooses_a_mark_that_no_answer_holds() -> None:
    """Not even an answer that was written with the mark of these texts known."""
    template = "{mark}{query}{answer_a}{answer_b}"
    answer = mark = fill_template(template, "q", "", "b")[:8]
    for _ in range(50):
        mark = fill_template(template, "q", answer, "b")[:8]
        assert mark not in answer
        answer += mark


def test_fill_template_keeps_other_braces() -> None:
    template = 'As {"winner": "A"}: {query} {answer_a} {answer_b}'
    check_template(template, source="")
    assert fill_template(template, "q", "a", "b") == 'As {"winner": "A"}: q a b'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{query} {answer_a}", "answer_a, query"),
        ("{query} {answer_a} {answer_b} {answer_c}", "answer_a, answer_b, answer_c, query"),
        ("which is better?", "none"),
    ],
)
def test_check_template_refuses_a_missing_or_unknown_placeholder(template: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^judge.prompt: found the placeholders {message};"):
        check_template(template, source="judge.prompt")


def test_comparison_requests_have_both_orders_and_none_for_equal_answers() -> None:
    requests = comparison_requests(settings(), COMPARISON)
    shown = [shown_answers(request["messages"][0]["content"]) for request in requests]
    assert shown == [("of x", "of y"), ("of y", "of x")]
    assert comparison_requests(settings(), COMPARISON._replace(answers=("same", "same"))) == ()


@pytest.mark.parametrize(
    ("forward", "backward", "outcome"),
    [("A", "B", "win"), ("B", "A", "lose"), ("A", "A", "tie"), ("tie", "tie", "tie"), ("A", "?", None)],
)
def test_verdict_row_matches_replies_to_their_orders(
    forward: str, backward: str, outcome: str | None
) -> None:
    requests = comparison_requests(settings(), COMPARISON)
    replies = [Reply(f"Verdict: {forward}", "stop", "m-1"), Reply(f"Verdict: {backward}", None, None)]
    keys = [request_key(request) for request in requests]
    row = verdict_row(settings(), COMPARISON, dict(zip(keys, replies, strict=True)))
    assert (row["first"], row["second"], row["outcome"], row["score_difference"]) == ("x", "y", outcome, 1.5)
    assert row["forward"]["reply"] == f"Verdict: {forward}" and row["forward"]["served_by"] == "m-1"
    assert row["backward"]["verdict"] == (None if backward == "?" else backward)
    assert row["forward"]["prompt_sha256"] != row["backward"]["prompt_sha256"]
