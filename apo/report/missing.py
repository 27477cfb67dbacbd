"""The stages that a run lacks, and those whose results are of an earlier run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.core.config import read_all

START = {
    "data": "data",
    "split": "split",
    "golden": "golden",
    "backbone": "backbone",
    "actor": "actor",
    "train_base_rm": "train_base_rm",
    "train_test_rm": "test_rm",
    "base_rm": "evaluate_base_rm",
    "test_rm": "evaluate_test_rm",
    "answer_actor": "answer_actor",
    "judge": "judge",
}
ROUND = {
    "sample_rm": "sample_rm",
    "sample_base": "sample (base)",
    "sample_apo": "sample (apo)",
    "convert": "convert",
    "train_apo_rm": "train_apo_rm",
    "apo_rm": "evaluate_apo_rm",
    "score_base": "score_base",
    "score_apo": "score",
    "rjs_base": "rjs (base)",
    "rjs_apo": "rjs (apo)",
    "align_base": "align (base)",
    "align_apo": "align (apo)",
    "answer_llm_base": "answer (base)",
    "answer_llm_apo": "answer (apo)",
    "evaluate": "evaluate",
    "payoff": "payoff",
}


def stages_of(rounds: Sequence[str]) -> dict[str, str]:
    """Every stage that writes metrics, such as `evaluate of round r1`, by the key of its metrics."""
    stages = dict(START)
    for round in rounds:
        stages |= {f"{key}_{round}": f"{stage} of round {round}" for key, stage in ROUND.items()}
    return stages


def missing_stages(metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[str]:
    """The stages without metrics, in the order in which they run."""
    return [stage for key, stage in stages_of(rounds).items() if key not in metrics]


def earlier_stages(lock: Path, settings: Mapping[str, Any]) -> list[str]:
    """The stages whose outputs are of other parameters or inputs than those that are there.

    As while `dvc repro` runs, after it stopped, or when params.yaml was edited since. What can be told by the
    lock file alone: code and files of the user are not looked at; `dvc status` does that.

    Args:
        lock: dvc.lock; without one there is no such stage.
        settings: All of params.yaml.
    """
    stages: Mapping[str, Any] = (read_all(lock) if lock.is_file() else {}).get("stages") or {}
    outs = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    earlier: dict[str, None] = {}
    for name, stage in stages.items():
        parameters = stage.get("params", {}).get("params.yaml", {})
        inputs = {dep["path"]: dep.get("md5") for dep in stage.get("deps", []) if dep["path"] in outs}
        if any(_value(settings, key) != value for key, value in parameters.items()) or any(
            outs[path] != md5 for path, md5 in inputs.items()
        ):
            earlier[name] = None
    for _ in stages:  # and what was made from their outputs
        for name, stage in stages.items():
            if any(makers.get(dep["path"]) in earlier for dep in stage.get("deps", [])):
                earlier[name] = None
    return [name for name in stages if name in earlier]


def _value(settings: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(settings, Mapping) or name not in settings:
            return None
        settings = settings[name]
    return settings
