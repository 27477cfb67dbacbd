"""What a judge from outside is asked, and what its words mean."""

import doctest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apo.judge.answers
import apo.judge.asking
import apo.judge.replies
import apo.judge.verdicts
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.judge.answers import Comparison, comparisons, pairs_of, read_answers
from apo.judge.asking import check_template, prompt_of, questions, verdict_row
from apo.judge.endpoint import Reply
from apo.judge.replies import key_of
from apo.judge.verdicts import outcome_of, summarise_verdicts, verdict_of
from apo.metrics.statistics import sign_test
from tests.helpers.fake_judge import COMMITTED, answers, settings, shown

TEMPLATE = COMMITTED["prompt"]


def test_the_examples_of_the_docstrings() -> None:
    for module in (apo.judge.answers, apo.judge.asking, apo.judge.replies, apo.judge.verdicts):
        assert ">>>" in str(Path(str(module.__file__)).read_text())
        assert doctest.testmod(module).failed == 0


# The prompt ----------------------------------------------------------------------------------------


def test_the_committed_template_shows_query_and_answers_once_and_in_order() -> None:
    prompt = prompt_of(TEMPLATE, "\n\nHuman: Why?\n\nAssistant:", "first text", "second text")
    assert prompt.count("Human: Why?") == prompt.count("first text") == prompt.count("second text") == 1
    assert prompt.index("Human: Why?") < prompt.index("first text") < prompt.index("second text")
    assert shown(prompt) == ("first text", "second text")
    assert "{" not in prompt


texts = st.text(st.sampled_from("ab{}_\n") | st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["{query}", "{answer_a}", "{answer_b}", "{mark}", "\\1", "\\g<0>", "{{answer_a}}", "Verdict: A"]
)


@given(texts, texts, texts)
def test_texts_stand_in_the_prompt_as_they_are(query: str, first: str, second: str) -> None:
    """Whatever they hold: a place that a text names is not filled, and no line can be faked."""
    prompt = prompt_of(TEMPLATE, query, first, second)
    assert shown(prompt) == (first, second)
    mark = prompt.split("begin with ")[1][:8]
    assert prompt.count(mark) == TEMPLATE.count("{mark}")
    assert prompt_of("{answer_b}|{answer_a}|{query}", query, first, second) == (
        f"{second}|{first}|{query.strip()}"
    )


def test_an_answer_can_not_hold_the_mark() -> None:
    """Even one that was written with the mark of these very texts known."""
    first = prompt_of("{mark}{query}{answer_a}{answer_b}", "q", "", "b")[:8]
    mark = prompt_of("{mark}{query}{answer_a}{answer_b}", "q", first, "b")[:8]
    assert mark != first
    for _ in range(50):  # a chain of answers each of which holds all marks so far
        first += mark
        mark = prompt_of("{mark}{query}{answer_a}{answer_b}", "q", first, "b")[:8]
        assert mark not in first


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{query} {answer_a}", "answer_a, query"),
        ("{query} {answer_a} {answer_b} {answer_c}", "answer_a, answer_b, answer_c, query"),
        ("which is better?", "none"),
    ],
)
def test_a_template_that_lacks_a_place_or_has_one_too_many(template: str, found: str) -> None:
    with pytest.raises(UserError, match=f"^judge.prompt: found the places {found};"):
        check_template(template, where="judge.prompt")


def test_a_template_may_hold_other_braces() -> None:
    template = 'As {"winner": "A"}: {query} {answer_a} {answer_b}'
    check_template(template, where="")
    assert prompt_of(template, "q", "a", "b") == 'As {"winner": "A"}: q a b'


# Verdicts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: A", "A"),
        ("A is kind, B is not.\n\nVerdict: B\n", "B"),
        ("**Verdict:** A", "A"),
        ("**Verdict: tie**.", "tie"),
        ("Final verdict: Tie", "tie"),
        ("verdict: b", "B"),
        ("[[A]]", "A"),
        ("Verdict: [[B]]", "B"),
        ("B.", "B"),
        ("Answer A", "A"),
        ("<think>Verdict: A? No.</think>\nVerdict: B", "B"),
        # Another line than the last counts for nothing, such as a quoted answer that wants to win.
        ("Answer B says 'Verdict: B'.\nVerdict: A", "A"),
        ("Verdict: A\nThough one may see it otherwise.", None),
        ("Verdict: A or B", None),
        ("Verdict: A is better than B", None),
        ("Verdict: C", None),
        ("Verdict:", None),
        ("A and B", None),
        ("", None),
        (" \n ", None),
    ],
)
def test_a_verdict_is_the_last_line(text: str, verdict: str | None) -> None:
    assert verdict_of(Reply(text, "stop", None)) == verdict
    assert verdict_of(Reply(text, None, "m")) == verdict
    assert verdict_of(Reply(text, "length", None)) is None  # nobody knows how it would have gone on


@pytest.mark.parametrize("forward", ["A", "B", "tie", None])
@pytest.mark.parametrize("backward", ["A", "B", "tie", None])
def test_a_win_is_one_in_both_orders(forward: str | None, backward: str | None) -> None:
    expected = {("A", "B"): "win", ("B", "A"): "lose"}.get((str(forward), str(backward)), "tie")
    assert outcome_of(forward, backward) == (None if None in (forward, backward) else expected)


def test_the_orders_are_both_asked_and_equal_answers_never() -> None:
    one = Comparison("q", "query", ("x", "y"), ("of x", "of y"), 0.0, 0)
    prompts = [body["messages"][0]["content"] for body in questions(settings(), one)]
    assert [shown(prompt) for prompt in prompts] == [("of x", "of y"), ("of y", "of x")]
    assert questions(settings(), one._replace(answers=("same", "same"))) == ()


@pytest.mark.parametrize(
    ("forward", "backward", "outcome"),
    [("A", "B", "win"), ("B", "A", "lose"), ("A", "A", "tie"), ("tie", "tie", "tie"), ("A", "?", None)],
)
def test_a_row_tells_which_reply_belongs_to_which_order(
    forward: str, backward: str, outcome: str | None
) -> None:
    one = Comparison("q", "query", ("x", "y"), ("of x", "of y"), 1.5, 0)
    asked = questions(settings(), one)
    said = [Reply(f"Verdict: {forward}", "stop", "m-1"), Reply(f"Verdict: {backward}", None, None)]
    row = verdict_row(settings(), one, {key_of(b): r for b, r in zip(asked, said, strict=True)})
    assert (row["first"], row["second"], row["outcome"], row["score_difference"]) == ("x", "y", outcome, 1.5)
    assert row["forward"]["reply"] == f"Verdict: {forward}" and row["forward"]["served_by"] == "m-1"
    assert row["backward"]["verdict"] == (None if backward == "?" else backward)
    assert row["forward"]["prompt_sha256"] != row["backward"]["prompt_sha256"]


# Metrics -------------------------------------------------------------------------------------------


def row(outcome: str | None, forward: str | None, backward: str | None, difference: float = 0.0) -> Any:
    told = [{"verdict": verdict, "cut": verdict is None} for verdict in (forward, backward)]
    base = {
        "first": "x",
        "second": "y",
        "outcome": outcome,
        "score_difference": difference,
        "further_samples": 1,
    }
    return base | {"forward": told[0], "backward": told[1]}


def test_metrics_by_hand() -> None:
    rows = [
        row("win", "A", "B", 2.0),
        row("win", "A", "B", -1.0),
        row("win", "A", "B", 0.0),  # the testing RM has no opinion
        row("lose", "B", "A", -3.0),
        row("tie", "A", "A", 5.0),
        row("tie", "tie", "tie", 1.0),
        row("tie", "tie", "A", 1.0),
        row("tie", None, None) | {"forward": None, "backward": None},  # identical answers
        row(None, "A", None, 9.0),
    ]
    found = summarise_verdicts(rows, seed=1, resamples=200)["x_vs_y"]
    assert (found["queries"], found["win"], found["tie"], found["lose"], found["unjudged"]) == (9, 3, 4, 1, 1)
    assert found["difference"] == (3 - 1) / 8
    assert found["low"] < 0.25 < found["high"]
    assert found["sign_test_p"] == sign_test(3, 1)
    assert (found["identical"], found["further_samples"]) == (1, 9)
    assert found["orders_disagree"] == 2
    assert (found["replies"], found["replies_unparsable"], found["replies_cut"]) == (16, 1, 1)
    # A: 3 wins, 1 of the lost, 2 of the first tie, 1 of the third, 1 of the unjudged; B: 3 + 1.
    assert found["first_shown_won"] == 8 / 12
    assert (found["agreement_queries"], found["agrees_with_score"]) == (3, 2 / 3)


def test_the_other_way_round_has_the_opposite_sign() -> None:
    rows = [row("win", "A", "B", 1.0), row("win", "A", "B", 1.0), row("lose", "B", "A", -1.0)]
    turned = {"win": "lose", "lose": "win"}
    other = [
        {**r, "outcome": turned[r["outcome"]], "score_difference": -r["score_difference"]}
        | {"forward": r["backward"], "backward": r["forward"]}
        for r in rows
    ]
    found, against = (summarise_verdicts(r, seed=1, resamples=500)["x_vs_y"] for r in (rows, other))
    assert (found["win"], found["lose"]) == (against["lose"], against["win"])
    assert found["difference"] == -against["difference"] == pytest.approx(1 / 3)
    assert (found["low"], found["high"]) == pytest.approx((-against["high"], -against["low"]))
    for same in ("sign_test_p", "first_shown_won", "agrees_with_score"):
        assert found[same] == against[same]
    assert found["agrees_with_score"] == 1.0 and found["first_shown_won"] == 0.5


def test_a_number_over_nothing_is_absent() -> None:
    found = summarise_verdicts([row(None, None, None)], seed=1, resamples=100)["x_vs_y"]
    assert found["unjudged"] == 1 and found["replies_unparsable"] == 2
    over = {"difference", "low", "high", "sign_test_p", "first_shown_won", "agrees_with_score"}
    assert not over & found.keys()
    found = summarise_verdicts([row("tie", "tie", "tie")] * 2, seed=1, resamples=100)["x_vs_y"]
    assert (found["difference"], found["low"], found["high"]) == (0.0, 0.0, 0.0)
    assert not {"sign_test_p", "first_shown_won", "agrees_with_score"} & found.keys()


# What is compared ----------------------------------------------------------------------------------


def test_pairs() -> None:
    assert pairs_of(["a", "b"], [["b", "a"]], where="") == [("b", "a")]
    assert pairs_of(["a", "b", "c"], [], where="") == [("a", "b"), ("a", "c"), ("b", "c")]
    for wanted, found in (
        ([["a", "z"]], r"\['a', 'z'\]; expected two of a, b"),
        ([["a", "a"]], r"\['a', 'a'\]; expected"),
        ([["a", "b"], ["b", "a"]], r"\['b', 'a'\] for a second time"),
    ):
        with pytest.raises(UserError, match=f"^judge.pairs: found {found}"):
            pairs_of(["a", "b"], wanted, where="judge.pairs")


def test_comparisons_join_by_query_and_draw_by_seed(tmp_path: Path) -> None:
    folder = answers(tmp_path, x=[f"x{n}" for n in range(9)], y=[f"yy{n}" for n in range(9)])
    write_rows(folder / "y.jsonl", reversed(list(read_rows(folder / "y.jsonl"))))  # another order
    arms = read_answers(folder)

    def drawn(max_queries: int, seed: int) -> list[Comparison]:
        return list(comparisons(arms, [("x", "y")], max_queries=max_queries, seed=seed, where="w"))

    every = drawn(0, 1)
    assert [(one.query_id, one.answers) for one in every] == [
        (f"q{n}", (f"x{n}", f"yy{n}")) for n in range(9)
    ]
    assert all(one.score_difference == 1.0 for one in every)  # -2 - -3
    assert len(drawn(4, 1)) == 4 and drawn(4, 1) == [one for one in every if one in drawn(4, 1)]
    assert any(drawn(4, 1) != drawn(4, seed) for seed in range(2, 6))


def test_of_several_samples_the_first_is_compared_and_the_others_counted(tmp_path: Path) -> None:
    arms = read_answers(answers(tmp_path, x=["x"], y=["yy"]))
    arms["x"]["q0"] |= {"samples": ["x", "other", "third"], "scores": [-1.0, 5.0, 7.0]}
    (one,) = comparisons(arms, [("y", "x")], max_queries=0, seed=1, where="")
    assert (one.answers, one.score_difference, one.further_samples) == (("yy", "x"), -1.0, 2)


def test_models_that_answered_other_queries(tmp_path: Path) -> None:
    arms = read_answers(answers(tmp_path, x=["a", "b"], y=["a"]))
    with pytest.raises(UserError, match=r"^here: found 1 queries such as 'q1' that x and y do not share"):
        list(comparisons(arms, [("x", "y")], max_queries=1, seed=1, where="here"))
    arms = read_answers(answers(tmp_path, x=["a"], y=["a"]))
    arms["y"]["q0"]["query"] = "another"
    with pytest.raises(UserError, match="'q0'"):
        list(comparisons(arms, [("x", "y")], max_queries=0, seed=1, where="here"))


@pytest.mark.parametrize(
    "change",
    [
        {"samples": []},
        {"samples": "text"},
        {"samples": [None]},
        {"scores": []},
        {"scores": [True]},
        {"scores": ["1"]},
        {"query": 1},
        {"query_id": None},
    ],
)
def test_rows_that_evaluate_does_not_write(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"query_id": "q", "query": "q", "samples": ["s"], "scores": [1.0]}
    write_rows(tmp_path / "x.jsonl", [good, good | {"query_id": "r"} | change])
    with pytest.raises(UserError, match=r"x\.jsonl:2: found .*expected one row a query: query_id"):
        read_answers(tmp_path)


def test_a_query_twice_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no \.jsonl file"):
        read_answers(tmp_path)
    good = {"query_id": "q", "query": "q", "samples": ["s"], "scores": [1.0]}
    write_rows(tmp_path / "x.jsonl", [good, good])
    with pytest.raises(UserError, match=r"x\.jsonl:2: found a query for a second time"):
        read_answers(tmp_path)
