"""The result of a run in words: the winner is the one that the interval shows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.summary import main

ROOT = Path(__file__).parents[2]


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


def _llm(score: float, *, known: bool) -> dict[str, Any]:
    found = {
        "queries": 9,
        "score_mean": score,
        "score_low": score - 0.01,
        "score_high": score + 0.01,
        "words_mean": 7.5,
        "blank": 3,
        "distinct": 1.0,
    }
    return found | ({"true_reward_mean": score * 2} if known else {})


def _write(folder: Path, low: float, high: float, *, known: bool = True, rounds: int = 1) -> Path:
    """The metrics files of a run that ended so; the parameters."""
    files: dict[str, dict[str, Any]] = {
        "train_base_rm": {"base_rm": _rm(0.701, known=known)},
        "test_rm": {"test_rm": _rm(0.743, known=known)},
        "answer_actor": {"answer_actor": _llm(-0.5, known=known) | {"golden": _llm(2.5, known=known)}},
        "data": {"data": {"rows": {}}},
    }
    llms = {"actor": -0.5, "golden": 2.5}
    for number in range(1, rounds + 1):
        one = f"r{number}"
        scores = {f"llm_base_{one}": 0.25 * number, f"llm_apo_{one}": 0.75 * number}
        llms |= scores
        duel = {"difference": (low + high) / 2, "low": low, "high": high, "win": 51, "tie": 20, "lose": 29}
        evaluate: dict[str, Any] = {
            f"llm_apo_{one}_vs_llm_base_{one}": {"score": duel},
            # Others that must not be taken for it.
            f"llm_apo_{one}_vs_actor": {"score": {**duel, "low": 9.0, "high": 9.0}},
        }
        if known:
            evaluate["chosen"] = {
                "apo": {"chosen": 0.871, "random": 0.303, "best": 0.954},
                "base": {"chosen": 0.862, "random": 0.304, "best": 0.955},
                "apo_vs_base": {"low": -0.011, "high": 0.029},
            }
        files |= {
            f"{one}/train_apo_rm": {f"apo_rm_{one}": _rm(0.722, known=known)},
            f"{one}/evaluate": {f"evaluate_{one}": evaluate},
            **{
                f"{one}/answer_{name}": {f"answer_{name}": _llm(score, known=known)}
                for name, score in scores.items()
            },
        }
    for name, key in (("payoff_base", "payoff_r0"), *((f"r{n}/payoff", f"payoff_r{n}") for n in (1, 2, 3))):
        files[name] = {key: {llm: {"reward_mean": 10 * score} for llm, score in llms.items()}}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content))
    params = folder / "params.yaml"
    chain = [{"id": f"r{n}", "prev": f"r{n - 1}"} for n in range(1, rounds + 1)]
    params.write_text(json.dumps({"rounds": chain}))
    return params


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "r1: llm_apo beats llm_base by the testing RM: +0.200, 95 % interval +0.100 to +0.300"),
        (
            -0.3,
            -0.1,
            "r1: llm_apo loses to llm_base by the testing RM: -0.200, 95 % interval -0.300 to -0.100",
        ),
        (
            -0.1,
            0.3,
            "r1: llm_apo draws with llm_base by the testing RM: +0.100, 95 % interval -0.100 to +0.300",
        ),
        (0.0, 0.3, "r1: llm_apo draws with llm_base"),
        (-0.3, 0.0, "r1: llm_apo draws with llm_base"),
    ],
)
def test_the_winner_is_the_one_that_the_interval_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], low: float, high: float, words: str
) -> None:
    main(tmp_path, _write(tmp_path, low, high))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("r1: llm_apo ")]
    sentence = next(line for line in lines if "testing RM:" in line)
    assert sentence.startswith(words)
    assert sentence.endswith("51 won, 20 tied, 29 lost")


def _cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.split()[:1] == [name.split()[0]]).split()


def test_the_tables_hold_the_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path, _write(tmp_path, 0.1, 0.3))
    text = capsys.readouterr().out
    assert _cells(text, "base_rm")[1:] == ["0.701", "0.681", "0.721", "0.012", "0.600", "0.912"]
    assert _cells(text, "apo_rm_r1")[1] == "0.722"
    assert _cells(text, "test_rm")[1] == "0.743"
    assert _cells(text, "best possible")[2:] == ["0.801", "0.004", "0.444", "1.000"]
    tables = text.split("\n\n")
    assert [line.split()[0] for line in tables[0].splitlines()[1:]] == [
        "base_rm",
        "apo_rm_r1",
        "test_rm",
        "best",
    ]
    assert _cells(tables[1], "actor")[1:] == ["-0.500", "-0.510", "-0.490", "-1.000", "7.500", "3"]
    assert _cells(tables[1], "llm_apo_r1")[1:] == ["0.750", "0.740", "0.760", "1.500", "7.500", "3"]
    assert tables[2].splitlines()[0].split() == ["llm_base_r1", "llm_apo_r1", "golden"]
    assert _cells(tables[2], "test_rm")[1:] == ["0.750", "1.250", "3.000"]  # gains over -0.5
    assert _cells(tables[2], "true reward")[2:] == ["1.500", "2.500", "6.000"]
    assert _cells(tables[2], "apo_rm_r1")[1:] == ["7.500", "12.500", "30.000"]
    assert (
        "APO RM 0.871 (at random 0.303, at best 0.954), base RM 0.862 (at random 0.304, at best 0.955); "
        "difference -0.011 to +0.029" in text
    )
    assert "0.111" not in text


def test_without_a_known_truth_nothing_is_said_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = _write(tmp_path, 0.1, 0.3, known=False)
    for name in ("train_base_rm", "r1/train_apo_rm", "test_rm"):  # rm.calibration_bins without 10
        path = tmp_path / f"{name}.json"
        path.write_text(path.read_text().replace("ece_10", "ece_7"))
    main(tmp_path, params)
    text = capsys.readouterr().out
    assert "llm_apo beats llm_base" in text
    for word in ("true", "possible", "truth", "None", "NaN", "nan"):
        assert word not in text


def test_rounds_that_are_not_played_any_more_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics of a longer game may lie there still."""
    params = _write(tmp_path, 0.1, 0.3, rounds=2)
    main(tmp_path, params)
    assert "r2: llm_apo beats" in capsys.readouterr().out
    params.write_text(json.dumps({"rounds": [{"id": "r1", "prev": "r0"}]}))
    main(tmp_path, params)
    assert "r2" not in capsys.readouterr().out


def test_metrics_of_half_a_run_are_told_in_one_line(tmp_path: Path) -> None:
    params = _write(tmp_path, 0.1, 0.3)
    (tmp_path / "r1/evaluate.json").unlink()
    with pytest.raises(UserError, match=r"found no metrics of evaluate_r1; .*dvc repro"):
        main(tmp_path, params)
    command = [sys.executable, "-m", "apo.summary", str(tmp_path), str(params)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
