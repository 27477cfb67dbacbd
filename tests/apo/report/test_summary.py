"""apo/report/summary.py: the tables hold the metrics, and one run is spoken of as one run."""

from pathlib import Path
from typing import Any

from apo.report.summary import summary, verdict

ROOT = Path(__file__).parents[2]


def _rm(accuracy: float, *, known: bool) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": accuracy + 0.02,
        "ece_10": 0.0123,
        "nll": 0.6,
    }
    if known:
        metrics["truth"] = {"agreement": 0.912, "best_accuracy": 0.801, "ece_10": 0.004, "nll": 0.444}
    return {"test": metrics, "valid": {"accuracy": 0.111}}


def _llm(score: float, *, known: bool) -> dict[str, Any]:
    metrics = {
        "queries": 9,
        "score_mean": score,
        "score_low": score - 0.01,
        "score_high": score + 0.01,
        "words_mean": 7.5,
        "blank": 3,
        "distinct": 1.0,
    }
    return metrics | ({"true_reward_mean": score * 2} if known else {})


def _metrics(*, low: float = 0.1, high: float = 0.3, known: bool = True, rounds: int = 1) -> dict[str, Any]:
    """The metrics of a run that ended so."""
    metrics: dict[str, Any] = {
        "base_rm": _rm(0.701, known=known),
        "test_rm": _rm(0.743, known=known),
        "answer_actor": _llm(-0.5, known=known) | {"golden": _llm(2.5, known=known)},
        "data": {"rows": {}},
    }
    llms = {"actor": -0.5, "golden": 2.5}
    for number in range(1, rounds + 1):
        scores = {f"llm_base_r{number}": 0.25 * number, f"llm_apo_r{number}": 0.75 * number}
        llms |= scores
        duel = {"difference": (low + high) / 2, "low": low, "high": high, "win": 51, "tie": 20, "lose": 29}
        evaluate: dict[str, Any] = {
            f"llm_apo_r{number}_vs_llm_base_r{number}": {"score": duel},
            f"llm_apo_r{number}_vs_actor": {  # not to be taken for it
                "score": {**duel, "difference": 0.75 * number + 0.5, "low": 9.0, "high": 9.0}
            },
        }
        if known:
            evaluate["chosen"] = {
                "apo": {"chosen": 0.871, "random": 0.303, "best": 0.954},
                "base": {"chosen": 0.862, "random": 0.303 + 0.1 * (number - 1), "best": 0.954},
                "apo_vs_base": {"difference": 0.009, "low": -0.011, "high": 0.029},
            }
        versus = {"pairs": 9, "difference": 0.021, "low": -0.004, "high": 0.046}
        evaluate[f"apo_rm_r{number}_vs_base_rm"] = {"accuracy": versus}
        metrics |= {f"apo_rm_r{number}": _rm(0.722, known=known), f"evaluate_r{number}": evaluate}
        metrics |= {f"answer_{name}": _llm(score, known=known) for name, score in scores.items()}
    for number in range(1, rounds + 1):
        means = {llm: {"reward_mean": 10 * score} for llm, score in llms.items()}
        metrics[f"payoff_r{number}"] = {"base_rm": means, f"apo_rm_r{number}": means}
    return metrics


def _cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split("  ")


def _shown(text: str, name: str) -> list[str]:
    return [cell.strip() for cell in _cells(text, name) if cell.strip()]


def test_verdict_names_difference_interval_and_coverage() -> None:
    text = summary(_metrics(low=-0.3, high=-0.1), ["r1"])
    assert (
        "llm_apo minus llm_base by the testing RM: -0.200 (-0.300 to -0.100), 51 won, 20 tied, 29 lost"
        in text
    )
    assert "over the queries of this run; another seed can turn the sign" in text
    for word in ("beats", "loses", "wins"):
        assert word not in text


def test_summary_tables_hold_the_metrics() -> None:
    rms, llms, gains, rest = summary(_metrics(), ["r1"]).split("\n\n")
    assert _shown(rms, "base_rm") == ["0.701 (0.681 to 0.721)", "0.600", "0.012", "0.912"]
    assert _shown(rms, "apo_rm_r1")[:2] == ["0.722 (0.702 to 0.742)", "+0.021 (-0.004 to +0.046)"]
    assert _shown(rms, "best possible, test" if "best possible, test" in rms else "best possible") == [
        "0.801",
        "0.444",
        "1.000",
    ]
    assert [line.split()[0] for line in rms.splitlines()[1:]] == ["base_rm", "apo_rm_r1", "test_rm", "best"]
    assert _shown(llms, "actor") == ["-0.500 (-0.510 to -0.490)", "-1.000", "7.500", "3"]
    assert _shown(llms, "llm_apo_r1") == ["0.750 (0.740 to 0.760)", "1.500", "7.500", "3"]
    assert gains.splitlines()[0].split()[-3:] == ["llm_base_r1", "llm_apo_r1", "golden"]
    assert _shown(gains, "testing RM") == ["+0.750", "+1.250", "+3.000"]  # over -0.5
    assert _shown(gains, "true reward") == ["+1.500", "+2.500", "+6.000"]
    assert _shown(gains, "apo_rm_r1") == ["+7.500", "+12.500", "+30.000"]
    assert "APO RM minus base RM: +0.009 (-0.011 to +0.029)" in rest
    assert (
        "APO RM 0.871 (at random 0.303, at best 0.954), base RM 0.862 (at random 0.303, at best 0.954)"
        in rest
    )
    assert "0.111" not in rms  # of valid


def test_verdict_does_not_compare_rms_on_the_samples_of_two_llms() -> None:
    first, second = (verdict(_metrics(rounds=2)[f"evaluate_r{number}"], f"r{number}") for number in (1, 2))
    assert "APO RM minus base RM: +0.009" in first
    assert "APO arm minus base arm, each of its own LLM's samples: +0.009" in second


def test_summary_without_a_truth_does_not_mention_it() -> None:
    metrics = _metrics(known=False)
    for name in ("base_rm", "apo_rm_r1", "test_rm"):  # evaluate_rm.calibration_bins without 10
        metrics[name]["test"]["ece_7"] = metrics[name]["test"].pop("ece_10")
    text = summary(metrics, ["r1"])
    assert "llm_apo minus llm_base" in text
    for word in ("true", "possible", "truth", "None", "NaN", "nan"):
        assert word not in text


def test_summary_leaves_out_rounds_that_are_no_longer_played() -> None:
    """Metrics of a longer game may lie there still."""
    metrics = _metrics(rounds=2)
    assert "r2, this run:" in summary(metrics, ["r1", "r2"])
    assert "r2" not in summary({k: v for k, v in metrics.items() if k != "payoff_r2"}, ["r1"]).replace(
        "llm_base_r2", ""
    )


def test_summary_shows_half_a_run() -> None:
    metrics = _metrics()
    del metrics["evaluate_r1"], metrics["payoff_r1"]
    text = summary(metrics, ["r1"])
    assert "base_rm" in text and "this run:" not in text
    assert summary({}, ["r1"]).strip() == ""
