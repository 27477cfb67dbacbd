"""Names of the pipeline's stages, files and metrics; the only module of the study that knows them."""

import json
import shutil
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]
ARMS = ("base", "apo")
ROUNDS = ("r1", "r2")
NORMAL_95 = 1.96
"""Standard errors from the middle of a 95 % interval to its end."""

WHOLE_GAME = ["evaluate@round1", "evaluate_test_rm"]
"""Targets of a game of two rounds."""
FIRST_CHOICE = ["rjs@round0-base", "rjs@round0-apo"]
"""Targets up to the choice of both RMs in round one."""
FIRST_LLMS = ["answer@round0-base", "answer@round0-apo", "answer_actor"]
"""Targets up to the answers of the LLMs of round one."""
TRAIN_RM = {"base": "train_base_rm", "apo": "train_apo_rm@round0"}
EVALUATE_RM = "evaluate_apo_rm@round0"
SCORE = "score@round0"
SELECT = "rjs@round0-apo"
ALIGN = "align@round0-apo"
ANSWER = "answer@round0-apo"
"""Stages of round one that the study runs again with other inputs, see `study.play.rerun`."""


def read_metrics(copy: Path) -> Metrics:
    """All metrics of a played game as one mapping."""
    metrics: Metrics = {}
    for path in sorted((copy / "metrics").rglob("*.json")):
        metrics |= json.loads(path.read_text(encoding="utf-8"))
    return metrics


def clear(copy: Path) -> None:
    """Removes the results of the previous game, which a shorter game would not overwrite."""
    for name in ("metrics", "data/answers", "data/evaluate"):
        shutil.rmtree(copy / name, ignore_errors=True)


def selected_file(copy: Path, arm: str) -> Path:
    """The chosen responses of an arm in round one, with all samples and their rewards."""
    return copy / f"data/rjs/r1/{arm}.jsonl"


def adversarial_file(copy: Path) -> Path:
    """Golden answers > samples of round one."""
    return copy / "data/apo/r1.jsonl"


def answer_files(copy: Path) -> dict[str, Path]:
    """The answers to the test queries, by ARM_ROUND."""
    return {
        f"{path.parent.name}_{path.parent.parent.name}": path
        for path in sorted((copy / "data/answers").glob("*/*/*.jsonl"))
    }


def rm_measures(metrics: Metrics, arm: str, round: str) -> dict[str, float]:
    """Measures of a reward model on test, and `valid_ece`, the ECE that the gate reads."""
    rm = metrics["base_rm" if arm == "base" else f"apo_rm_{round}"]
    return {
        "accuracy": rm["test"]["accuracy"],
        "agreement": rm["test"]["truth"]["agreement"],
        "nll": rm["test"]["nll"],
        "ece": rm["test"]["ece_10"],
        "valid_ece": rm["calibration"]["ece_10"],
    }


def choice_measures(metrics: Metrics, round: str) -> Metrics:
    """Measures of each arm's choice in a round, the result of `apo.evaluation.compare_llms.chosen_truth`."""
    measures: Metrics = metrics[f"evaluate_{round}"]["chosen"]
    return measures


def llm_measures(metrics: Metrics, arm: str, round: str) -> dict[str, float]:
    """Measures of the LLM of an arm on the test queries."""
    return named_answers(metrics, f"llm_{arm}_{round}")


def query_error(metrics: Metrics, round: str) -> dict[str, float]:
    """The standard errors over the test queries of the LLM of the APO arm minus that of the base arm.

    Returns:
        `queries`, their number; `true_reward` and `score`, the errors, from the 95 % bootstrap intervals of
        stage evaluate.
    """
    compared = metrics[f"evaluate_{round}"][f"llm_apo_{round}_vs_llm_base_{round}"]
    queries = metrics[f"answer_llm_apo_{round}"]["queries"]
    names = [name for name in ("true_reward", "score") if name in compared]
    errors = {name: (compared[name]["high"] - compared[name]["low"]) / (2 * NORMAL_95) for name in names}
    return {"queries": queries} | errors


def named_answers(metrics: Metrics, name: str) -> dict[str, float]:
    """Measures of an LLM by its name in stage answer."""
    return answer_measures(metrics[f"answer_{name}"])


def answer_measures(answers: Metrics) -> dict[str, float]:
    """Measures of the answers of one LLM to the test queries; those that its metrics lack are left out."""
    names = {
        "true_reward": "true_reward_mean",
        "score": "score_mean",
        "words": "words_mean",
        "kl": "kl_per_token",
        "repetition": "repetition",
        "distinct": "distinct",
    }
    return {name: answers[key] for name, key in names.items() if key in answers}


def best_accuracy(metrics: Metrics) -> float:
    """The test accuracy of the best possible RM."""
    return float(metrics["base_rm"]["test"]["truth"]["best_accuracy"])


def start_measures(metrics: Metrics) -> dict[str, float]:
    """Measures of the actor, the golden answers and the testing RM of a game of two rounds."""
    actor = metrics["answer_actor"]
    return {
        "actor_true_reward": actor["true_reward_mean"],
        "actor_score": actor["score_mean"],
        "golden_answer_true_reward": actor["golden"]["true_reward_mean"],
        "golden_answer_score": actor["golden"]["score_mean"],
        "test_rm_accuracy": metrics["test_rm"]["test"]["accuracy"],
    }
