"""From a kept result to the numbers that the report is made of, the rows of `results.jsonl`."""

from typing import Any

ROUNDS = ("r1", "r2")
ARMS = ("base", "apo")
Row = dict[str, Any]


def row_of(result: Row) -> Row:
    """The numbers of one game.

    Returns:
        What was played and its `seconds`; `pairs`, by round and measure [base arm, APO arm]; `start`, what
        both arms have in common in round one; `points` by component of the true reward, of the responses
        `chosen` in round one and of the `answers` of each LLM.
    """
    metrics, selection = result["metrics"], result["selection"]
    found = {name: result[name] for name in ("kind", "name", "seed", "seconds")}
    found["pairs"] = {"r1": _rm_pairs(metrics, "r1") | _choice_pairs(selection)}
    found["start"] = {
        "random": selection["base"]["random"],
        "best": selection["base"]["best"],
        "best_accuracy": metrics["base_rm"]["test"]["truth"]["best_accuracy"],
        **{f"golden_{name}": value for name, value in result["golden"].items()},
    }
    found["points"] = {
        "chosen": {arm: selection[arm]["points"] for arm in ARMS},
        "answers": result["answers"],
    }
    if result["kind"] == "method":
        for one in ROUNDS:
            pairs = _rm_pairs(metrics, one) | _choice_pairs(metrics[f"evaluate_{one}"]["chosen"])
            found["pairs"][one] = pairs | _llm_pairs(metrics, one)
        actor = metrics["answer_actor"]
        found["start"] |= {
            "actor_true_reward": actor["true_reward_mean"],
            "actor_score": actor["score_mean"],
            "golden_answer_true_reward": actor["golden"]["true_reward_mean"],
            "golden_answer_score": actor["golden"]["score_mean"],
            "test_rm_accuracy": metrics["test_rm"]["test"]["accuracy"],
        }
    return {key: rounded(value) for key, value in found.items()}


def _rm_pairs(metrics: Row, one: str) -> dict[str, list[float]]:
    base, apo = metrics["base_rm"], metrics[f"apo_rm_{one}"]
    return {
        "accuracy": [base["test"]["accuracy"], apo["test"]["accuracy"]],
        "agreement": [base["test"]["truth"]["agreement"], apo["test"]["truth"]["agreement"]],
        "nll": [base["test"]["nll"], apo["test"]["nll"]],
        "ece": [base["test"]["ece_10"], apo["test"]["ece_10"]],
        "valid_ece": [base["calibration"]["ece_10"], apo["calibration"]["ece_10"]],
    }


def _choice_pairs(chosen: Row) -> dict[str, list[float]]:
    names = ("chosen", "random", "best", "share_of_best", "tau")
    return {
        name: [chosen[arm][name] for arm in ARMS] for name in names if all(name in chosen[a] for a in ARMS)
    }


def _llm_pairs(metrics: Row, one: str) -> dict[str, list[float]]:
    both = [metrics[f"answer_llm_{arm}_{one}"] for arm in ARMS]
    names = {
        "llm_true_reward": "true_reward_mean",
        "llm_score": "score_mean",
        "llm_words": "words_mean",
        "llm_kl": "kl_per_token",
        "llm_repetition": "repetition",
        "llm_distinct": "distinct",
    }
    return {
        name: [arm[key] for arm in both] for name, key in names.items() if all(key in arm for arm in both)
    }


def rounded(value: Any) -> Any:
    """Six digits: more are not meaningful, and the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value
