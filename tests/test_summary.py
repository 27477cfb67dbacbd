"""The result of a run in words: the winner is the one that the interval shows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apo.errors import UserError
from apo.summary import main

ROOT = Path(__file__).parents[1]


def _rm(accuracy: float, *, known: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": accuracy + 0.02,
        "ece_10": 0.0123,
        "nll": 0.6,
    }
    if known:
        found["truth"] = {"agreement": 0.912, "best_accuracy": 0.801, "ece_10": 0.004, "nll": 0.444}
    return {"test": found, "valid": {"accuracy": 0.111}}


def _llm(score: float, *, known: bool) -> dict[str, float]:
    found = {"queries": 9, "score_mean": score, "words_mean": 7.5, "blank": 3, "distinct": 1.0}
    return found | ({"true_reward_mean": score * 2} if known else {})


def _write(folder: Path, low: float, high: float, *, known: bool = True) -> None:
    """The metrics files of a run that ended so."""
    duel = {"difference": (low + high) / 2, "low": low, "high": high, "win": 51, "tie": 20, "lose": 29}
    evaluate: dict[str, Any] = {
        "actor": _llm(-0.5, known=known),
        "llm_base": _llm(0.25, known=known),
        "llm_apo": _llm(0.75, known=known),
        "llm_apo_vs_llm_base": {"score": duel},
        # Others that must not be taken for it.
        "llm_apo_vs_actor": {"score": {**duel, "low": 9.0, "high": 9.0}},
    }
    if known:
        evaluate["chosen"] = {
            "apo": 0.871,
            "base": 0.862,
            "random": 0.303,
            "best": 0.954,
            "apo_vs_base": {"low": -0.011, "high": 0.029},
        }
    for name, key, found in (
        ("train_base_rm", "base_rm", _rm(0.701, known=known)),
        ("train_apo_rm", "apo_rm", _rm(0.722, known=known)),
        ("test_rm", "test_rm", _rm(0.743, known=known)),
        ("evaluate", "evaluate", evaluate),
        ("data", "data", {"rows": {}}),
    ):
        (folder / f"{name}.json").write_text(json.dumps({key: found}))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "llm_apo beats llm_base by the testing RM: +0.200, 95 % interval +0.100 to +0.300"),
        (-0.3, -0.1, "llm_apo loses to llm_base by the testing RM: -0.200, 95 % interval -0.300 to -0.100"),
        (-0.1, 0.3, "llm_apo draws with llm_base by the testing RM: +0.100, 95 % interval -0.100 to +0.300"),
        (0.0, 0.3, "llm_apo draws with llm_base"),
        (-0.3, 0.0, "llm_apo draws with llm_base"),
    ],
)
def test_the_winner_is_the_one_that_the_interval_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], low: float, high: float, words: str
) -> None:
    _write(tmp_path, low, high)
    main(tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("llm_apo ")]
    sentence = next(line for line in lines if "testing RM:" in line)
    assert sentence.startswith(words)
    assert sentence.endswith("51 won, 20 tied, 29 lost")


def _cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.split()[:1] == [name.split()[0]]).split()


def test_the_tables_hold_the_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, 0.1, 0.3)
    main(tmp_path)
    text = capsys.readouterr().out
    assert _cells(text, "base_rm")[1:] == ["0.701", "0.681", "0.721", "0.012", "0.600", "0.912"]
    assert _cells(text, "apo_rm")[1] == "0.722"
    assert _cells(text, "test_rm")[1] == "0.743"
    assert _cells(text, "best possible")[2:] == ["0.801", "0.004", "0.444", "1.000"]
    tables = text.split("\n\n")
    assert [line.split()[0] for line in tables[0].splitlines()[1:]] == [
        "base_rm",
        "apo_rm",
        "test_rm",
        "best",
    ]
    assert _cells(tables[1], "actor")[1:] == ["-0.500", "-1.000", "7.500", "3"]
    assert _cells(tables[1], "llm_apo")[1:] == ["0.750", "1.500", "7.500", "3"]
    assert (
        "APO RM 0.871, base RM 0.862 (difference -0.011 to +0.029); at random 0.303, the best 0.954" in text
    )
    assert "0.111" not in text


def test_without_a_known_truth_nothing_is_said_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, 0.1, 0.3, known=False)
    for name in ("train_base_rm", "train_apo_rm", "test_rm"):  # rm.calibration_bins without 10
        path = tmp_path / f"{name}.json"
        path.write_text(path.read_text().replace("ece_10", "ece_7"))
    main(tmp_path)
    text = capsys.readouterr().out
    assert "llm_apo beats llm_base" in text
    for word in ("true", "possible", "truth", "None", "NaN", "nan"):
        assert word not in text


def test_metrics_of_half_a_run_are_told_in_one_line(tmp_path: Path) -> None:
    _write(tmp_path, 0.1, 0.3)
    (tmp_path / "evaluate.json").unlink()
    with pytest.raises(UserError, match=r"found no metrics of evaluate; .*dvc repro"):
        main(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "apo.summary", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
