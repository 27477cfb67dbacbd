"""apo/evaluation/payoff.py: a row of the payoff matrix by hand."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import Row, write_rows
from apo.evaluation.payoff import payoff_row, read_arms

SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"


def _row(name: str, samples: list[str], scores: list[float], query: str = SUM) -> Row:
    return {"query_id": name, "query": query, "samples": samples, "scores": scores}


def rated(*rewards: list[float], text: str = "x") -> list[Row]:
    return [{"samples": [text] * len(of_query), "rewards": of_query} for of_query in rewards]


def test_payoff_row_is_the_mean_over_queries() -> None:
    arms = {"actor": rated([1.0, 3.0], [-1.0]), "llm": rated([4.0], [2.0], text="y")}
    row = payoff_row(arms, {"actor": {"responses_cut": 2, "items": 3}, "llm": {}}, seed=1, resamples=200)
    assert row["actor"] == {"reward_mean": 0.5, "queries_cut": 0, "responses_cut": 2}
    gain = {"gain": 2.5, "gain_low": 2.0, "gain_high": 3.0}  # 4 - 2 and 2 - -1
    assert row["llm"] == {"reward_mean": 3.0, "queries_cut": 0, "responses_cut": 0, **gain}


def test_the_same_answer_is_no_gain() -> None:
    """In bfloat16 its reward may differ from batch to batch."""
    arms = {"actor": rated([1.0], [2.0]), "llm": rated([1.01], [1.99])}
    row = payoff_row(arms, {"actor": {}, "llm": {}}, seed=1, resamples=200)
    assert row["llm"]["gain"] == row["llm"]["gain_low"] == row["llm"]["gain_high"] == 0.0


def test_read_arms_reads_a_file_for_each_language_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no answers"):
        read_arms(tmp_path)
    write_rows(tmp_path / "llm_apo_r1.jsonl", [_row("a", ["x"], [0.0])])
    assert read_arms(tmp_path) == {"llm_apo_r1": [_row("a", ["x"], [0.0])]}
