"""apo/judge/verdicts.py: what a reply means, and metrics by hand."""

import doctest
from typing import Any

import pytest

from apo.endpoint.reply_cache import Reply
from apo.judge import verdicts
from apo.judge.verdicts import outcome_of, parse_verdict, summarize_verdicts
from apo.metrics.statistics import sign_test


def test_the_docstring_examples() -> None:
    assert doctest.testmod(verdicts) == (0, 2)


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
        # Only the last line counts: a quoted answer may hold a verdict of its own.
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
def test_parse_verdict_reads_the_last_line_of_a_complete_reply(text: str, verdict: str | None) -> None:
    assert parse_verdict(Reply(text, "stop", None)) == verdict
    assert parse_verdict(Reply(text, None, "m")) == verdict
    assert parse_verdict(Reply(text, "length", None)) is None


@pytest.mark.parametrize("forward", ["A", "B", "tie", None])
@pytest.mark.parametrize("backward", ["A", "B", "tie", None])
def test_outcome_of_is_a_win_only_in_both_orders(forward: str | None, backward: str | None) -> None:
    expected = {("A", "B"): "win", ("B", "A"): "lose"}.get((str(forward), str(backward)), "tie")
    assert outcome_of(forward, backward) == (None if None in (forward, backward) else expected)


def row(
    outcome: str | None, forward: str | None, backward: str | None, reward_difference: float = 0.0
) -> dict[str, Any]:
    replies = [
        {"verdict": verdict, "cut": verdict is None, "refused": False} for verdict in (forward, backward)
    ]
    pair = {"first": "x", "second": "y", "outcome": outcome, "score_difference": reward_difference}
    return pair | {"further_samples": 1, "forward": replies[0], "backward": replies[1]}


def test_summarize_verdicts_by_hand() -> None:
    rows = [
        row("win", "A", "B", 2.0),
        row("win", "A", "B", -1.0),
        row("win", "A", "B", 0.0),  # the testing RM prefers neither
        row("lose", "B", "A", -3.0),
        row("tie", "A", "A", 5.0),
        row("tie", "tie", "tie", 1.0),
        row("tie", "tie", "A", 1.0),
        row("tie", None, None) | {"forward": None, "backward": None},  # identical answers
        row(None, "A", None, 9.0),
    ]
    pair = summarize_verdicts(rows, seed=1, resamples=200)["x_vs_y"]
    assert (pair["queries"], pair["win"], pair["tie"], pair["lose"], pair["unjudged"]) == (9, 3, 4, 1, 1)
    assert pair["difference"] == (3 - 1) / 8
    assert pair["low"] < 0.25 < pair["high"]
    assert pair["sign_test_p"] == sign_test(3, 1)
    assert (pair["identical"], pair["further_samples"]) == (1, 9)
    assert pair["orders_disagree"] == 2
    assert (pair["replies"], pair["replies_unparsable"], pair["replies_cut"]) == (16, 1, 1)
    # A: 3 wins, 1 of the loss, 2 of the first tie, 1 of the third, 1 of the unjudged; B: 3 + 1.
    assert pair["first_shown_won"] == 8 / 12
    assert (pair["agreement_queries"], pair["agrees_with_score"]) == (3, 2 / 3)


def test_summarize_verdicts_changes_the_sign_if_the_models_are_swapped() -> None:
    rows = [row("win", "A", "B", 1.0), row("win", "A", "B", 1.0), row("lose", "B", "A", -1.0)]
    opposite = {"win": "lose", "lose": "win"}
    swapped = [
        {**r, "outcome": opposite[r["outcome"]], "score_difference": -r["score_difference"]}
        | {"forward": r["backward"], "backward": r["forward"]}
        for r in rows
    ]
    pair, reverse = (summarize_verdicts(r, seed=1, resamples=500)["x_vs_y"] for r in (rows, swapped))
    assert (pair["win"], pair["lose"]) == (reverse["lose"], reverse["win"])
    assert pair["difference"] == -reverse["difference"] == pytest.approx(1 / 3)
    assert (pair["low"], pair["high"]) == pytest.approx((-reverse["high"], -reverse["low"]))
    for same in ("sign_test_p", "first_shown_won", "agrees_with_score"):
        assert pair[same] == reverse[same]
    assert pair["agrees_with_score"] == 1.0 and pair["first_shown_won"] == 0.5


def test_summarize_verdicts_has_no_metric_over_nothing() -> None:
    pair = summarize_verdicts([row(None, None, None)], seed=1, resamples=100)["x_vs_y"]
    assert pair["unjudged"] == 1 and pair["replies_unparsable"] == 2
    rates = {"difference", "low", "high", "sign_test_p", "first_shown_won", "agrees_with_score"}
    assert not rates & pair.keys()
    pair = summarize_verdicts([row("tie", "tie", "tie")] * 2, seed=1, resamples=100)["x_vs_y"]
    assert (pair["difference"], pair["low"], pair["high"]) == (0.0, 0.0, 0.0)
    assert not {"sign_test_p", "first_shown_won", "agrees_with_score"} & pair.keys()
