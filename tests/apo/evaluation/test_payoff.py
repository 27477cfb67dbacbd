"""apo/evaluation/payoff.py: a row of the payoff matrix by hand."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import Row, write_rows
from apo.evaluation.payoff import payoff_row, read_arms

SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"


def _row(name: str, samples: list[str], scores: list[float], query: str = SUM) -> Row:
    return {"query_id": name, "query": query, "samples": samples, "scores": scores}


def test_payoff_row_is_the_mean_over_queries() -> None:
    rows = [{"rewards": [1.0, 3.0]}, {"rewards": [-1.0]}]
    assert payoff_row({"actor": rows}, {"actor": {"responses_cut": 2, "items": 3}}) == {
        "actor": {"reward_mean": 0.5, "queries_cut": 0, "responses_cut": 2}
    }


def test_read_arms_reads_a_file_for_each_language_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no answers"):
        read_arms(tmp_path)
    write_rows(tmp_path / "llm_apo_r1.jsonl", [_row("a", ["x"], [0.0])])
    assert read_arms(tmp_path) == {"llm_apo_r1": [_row("a", ["x"], [0.0])]}
