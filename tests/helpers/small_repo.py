"""A copy of the repository with a world and models so small that the whole game takes about a minute."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
# An ECE on the six comparisons of valid is noise, so the gate is open.
SMALL: dict[str, Any] = {
    "data": {"demo": {"comparisons": 160, "test_comparisons": 40, "documents": 120, "demonstrations": 60}},
    "backbone": {
        "vocab_size": 512,
        "hidden_size": 32,
        "layers": 2,
        "heads": 2,
        "intermediate_size": 64,
        "epochs": 1,
        "batch_size": 16,
        "warmup_steps": 2,
    },
    "actor": {"epochs": 1, "warmup_steps": 1},
    "sample": {"common": {"max_new_tokens": 12}, "test": {"max_new_tokens": 12}},
    "rm": {"epochs": 1, "batch_size": 16, "warmup_steps": 1},
    "evaluate_rm": {"bootstrap": 100},
    "gate": {"max_ece": 1.0},
    "align": {"epochs": 1, "warmup_steps": 1},
    "evaluate": {"bootstrap": 100},
}


def change_params(path: Path, changes: dict[str, Any]) -> None:
    """Writes changed values into a params.yaml."""
    yaml = YAML()
    params = yaml.load(path.read_text(encoding="utf-8"))

    def merge(into: Any, values: dict[str, Any]) -> None:
        for key, value in values.items():
            assert key in into, key
            if isinstance(value, dict):
                merge(into[key], value)
            else:
                into[key] = value

    merge(params, changes)
    with path.open("w", encoding="utf-8") as out:
        yaml.dump(params, out)


def copy_repository(target: Path, changes: dict[str, Any] | None = None, *, small: bool = True) -> Path:
    """The tracked files as a repository of their own, with small parameters, committed."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        source = ROOT / name
        if source.is_file() and name != "dvc.lock" and not name.startswith(("metrics/", "tests/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    change_params(target / "params.yaml", SMALL if small else {})
    change_params(target / "params.yaml", changes or {})
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "small"]):
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *command]
        subprocess.run(git, cwd=target, check=True)
    return target


def run(command: list[str], where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the copy with this Python first on the path."""
    env = (
        os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | environment
    )
    return subprocess.run(command, cwd=where, env=env, capture_output=True, text=True)
