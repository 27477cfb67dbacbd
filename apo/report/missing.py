"""The stages that a run lacks, and those whose results are of an earlier run."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.core.config import read_all

REPOSITORY = Path(__file__).parents[2]
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
    lock file and the outputs that it names: code and files of the user are not looked at, nor is an input
    folder that is not one output compared as a whole; `dvc status` does that.

    Args:
        lock: dvc.lock, beside the outputs and the cache of DVC; without one there is no such stage.
        settings: All of params.yaml.
    """
    stages = _declared((read_all(lock) if lock.is_file() else {}).get("stages") or {}, settings)
    outs = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    inputs = {dep["path"] for stage in stages.values() for dep in stage.get("deps", [])}
    sources = {path: {maker for out, maker in makers.items() if _overlap(path, out)} for path in inputs}
    now = {path: _md5(path, outs, lock.parent) for path in inputs}
    earlier = {
        name
        for name, stage in stages.items()
        if any(
            _value(settings, key) != value
            for key, value in stage.get("params", {}).get("params.yaml", {}).items()
        )
        or any(now[dep["path"]] not in (None, dep.get("md5")) for dep in stage.get("deps", []))
    }
    for _ in stages:  # and what was made from their outputs
        earlier |= {
            name
            for name, stage in stages.items()
            if any(sources[dep["path"]] & earlier for dep in stage.get("deps", []))
        }
    return [name for name in stages if name in earlier]


def _declared(stages: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stages that dvc.yaml and the rounds still have: DVC removes none from the lock file."""
    names = read_all(REPOSITORY / "dvc.yaml")["stages"]

    def is_declared(name: str) -> bool:
        base, _, item = name.partition("@")
        number = re.match(r"round(\d+)", item)
        return base in names and (not number or int(number[1]) < len(settings["rounds"]))

    return {name: stage for name, stage in stages.items() if is_declared(name)}


def _overlap(path: str, other: str) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


def _md5(path: str, outs: Mapping[str, str | None], root: Path) -> str | None:
    """The md5 that an output, or a file inside one, has now; None if it is neither, or can't be told.

    A file inside has that of the folder's listing in the cache of DVC, else that of its bytes.
    """
    folder = next((out for out in outs if f"{path}/".startswith(f"{out}/")), None)
    if folder is None or folder == path:
        return outs.get(path)
    md5 = outs[folder] or ""
    listing = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    if listing.is_file():
        for file in json.loads(listing.read_text(encoding="utf-8")):
            if f"{folder}/{file['relpath']}" == path:
                return str(file["md5"])
    if not (root / path).is_file():
        return None
    with (root / path).open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


def _value(settings: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(settings, Mapping) or name not in settings:
            return None
        settings = settings[name]
    return settings
