"""study/real/__main__.py: a row of the kept numbers, and, slow, reward models that are trained."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from study.real import __main__ as main
from study.real.__main__ import result_row
from study.real.settings import read_real_settings
from tests.helpers import chat_models
from tests.helpers.small_repo import copy_repository, run

SETTINGS = read_real_settings()
QUERY = "\n\nHuman: What is {} plus one?\n\nAssistant:"


def test_result_row_keeps_six_digits_and_no_spec() -> None:
    result = {"kind": "rm", "seed": 1, "spec": ["long"], "code": "0123456789abcdef", "x": [1 / 3]}
    marks = {"code": "0123456789ab", "settings": SETTINGS.digest()}
    assert result_row(result, SETTINGS) == {"kind": "rm", "seed": 1, "x": [0.333333]} | marks


def test_rows_of_other_settings_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"seed": 1, "settings": SETTINGS.digest()}, {"seed": 2, "settings": "other"}]
    write(tmp_path / "results.jsonl", rows)
    monkeypatch.setattr(main, "RESULTS", tmp_path / "results.jsonl")
    assert main.kept_rows(SETTINGS) == rows[:1]
    assert "1 of 2 kept rows are of other settings" in capsys.readouterr().out
    assert main.kept_rows(SETTINGS.model_copy(update={"seeds": [9]})) == rows[:1]  # of more seeds


def pairs(first: int, number: int) -> list[dict[str, Any]]:
    numbers = range(first, first + number)
    return [{"prompt": QUERY.format(n), "chosen": f"It is {n + 1}.", "rejected": f"No {n}."} for n in numbers]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_small_game_is_played_reported_and_kept(tmp_path: Path) -> None:
    """Reward models at one coefficient and their length control, with a random chat model."""
    data, repository = tmp_path / "data", copy_repository(tmp_path / "repository", small=False)
    data.mkdir()
    model = chat_models.checkpoint("chatml", tmp_path / "model")
    for name, first in (("rm", 0), ("llm", 40), ("test", 80)):
        write(data / f"{name}.jsonl", pairs(first, 20))
    golden = [
        {"query_id": str(n), "query": QUERY.format(n), "golden": f"It is {n + 1}, I think."}
        for n in range(20)
    ]
    write(data / "golden.jsonl", golden)
    settings = {
        "seeds": [1],
        "coefficients": [2.0],
        "length_control": 2.0,
        "methods": {},
        "max_words": 100,
        "files": [
            {"part": part, "name": "sums", "file": f"{part}.jsonl", "rows": 0 if part == "golden" else 20}
            for part in ("rm", "llm", "test", "golden")
        ],
        "baseline": {
            "data.source": "files",
            "split.valid_fraction": 0.3,
            "split.near_duplicate": 1.0,
            "sample.common.max_new_tokens": 4,
            "sample.test.max_queries": 2,
            "rm.warmup_steps": 1,
            "gate.max_ece": 1.0,
        },
        "queries": [],
    }
    (repository / "study/real/settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "study.real",
        "--data",
        str(data),
        "--model",
        str(model),
        "--workers",
        "1",
    ]
    done = run(command, repository)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (repository / "docs/real_model.md").read_text(encoding="utf-8")
    assert "**2 of 2 jobs are played, of 1 seeds**" in page
    assert "| APO RM, coeff 2, golden answers cut | base RM | 1 |" in page
    again = run(command, repository)
    assert "2 games, 2 of them kept from before" in again.stdout
    assert (repository / "docs/real_model.md").read_text(encoding="utf-8") == page
