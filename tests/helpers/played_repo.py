"""A small game played by dvc, and what the tests ask of dvc."""

import fcntl
import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.helpers.small_repo import copy_repository, run

TWO_ROUNDS = "rounds=[{id:r1,prev:r0},{id:r2,prev:r1}]"
OF_TWO = "two.txt"  # beside the repository: what dvc printed for experiment `two`


def play_once(factory: pytest.TempPathFactory) -> Path:
    """The repository of the fixture `game`."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _play(factory.mktemp("game"))
    shared = factory.getbasetemp().parent / "game"
    with (shared.parent / "game.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / OF_TWO).is_file():  # or it broke off
            shutil.rmtree(shared, ignore_errors=True)
            shared.mkdir()
            _play(shared)
    folder = factory.mktemp("game")
    shutil.copytree(shared, folder, symlinks=True, dirs_exist_ok=True)
    return folder / "repository"


def _play(folder: Path) -> Path:
    """One round, committed, then two as an experiment."""
    repository = copy_repository(folder / "repository")
    output = dvc(repository, "repro")
    assert ran(output) == set(stages(repository)), output
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "played")
    output = dvc(repository, "exp", "run", "-n", "two", "-S", TWO_ROUNDS)
    put_back(repository)
    (folder / OF_TWO).write_text(output, encoding="utf-8")
    return repository


def put_back(repository: Path) -> None:
    """The repository as it was committed."""
    git(repository, "reset", "-q", "--hard")  # dvc may have staged its lock
    git(repository, "clean", "-fdq")
    dvc(repository, "checkout", "--force")


def ran(output: str) -> set[str]:
    """The stages that dvc ran."""
    return set(re.findall(r"^Running stage '(.+)':", output, flags=re.MULTILINE))


def dvc(where: Path, *arguments: str, **environment: str) -> str:
    """Runs dvc and returns what it printed; its failure fails the test."""
    done = run(["dvc", *arguments], where, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(where: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
    subprocess.run(command, cwd=where, check=True, capture_output=True)


def stages(repository: Path) -> dict[str, Any]:
    """Every stage instance with its inputs, outputs and parameters, `${...}` replaced by values."""
    params = YAML(typ="safe").load((repository / "params.yaml").read_text())
    return expanded(YAML(typ="safe").load((repository / "dvc.yaml").read_text())["stages"], params)


def expanded(declared: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The instances of the declared stages by the names that dvc gives them."""
    instances = {}
    for name, stage in declared.items():
        for instance, values in _instances(stage, params):
            body = json.dumps({"metrics": [], "params": [], **stage})
            for place in set(re.findall(r"(?<!\\)\$\{([^}]+)\}", body)):
                value: Any = params | values
                for key in re.findall(r"-?\w+", place):
                    value = value[int(key)] if key.lstrip("-").isdigit() else value[key]
                body = body.replace("${" + place + "}", str(value))
            instances[f"{name}@{instance}" if instance else name] = json.loads(body)
    return instances


def _instances(stage: dict[str, Any], params: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and template values of each instance."""
    if "matrix" not in stage:
        return [("", {})]
    sides = []
    for name, side in stage["matrix"].items():
        listed = params[side[2:-1]] if isinstance(side, str) else side
        sides.append(
            [(name, one, f"{name}{i}" if isinstance(one, dict) else one) for i, one in enumerate(listed)]
        )
    return [
        ("-".join(shown for _, _, shown in chosen), {"item": {name: one for name, one, _ in chosen}})
        for chosen in product(*sides)
    ]


def written(stage: dict[str, Any]) -> list[str]:
    """Outputs and metrics of a stage."""
    return [*stage["outs"], *(name for metric in stage["metrics"] for name in metric)]


def downstream(all_stages: dict[str, Any], changed: set[str]) -> set[str]:
    """The changed stages and every one that depends on an output of theirs."""
    affected = set(changed)
    while True:
        outs = {out for name in affected for out in written(all_stages[name])}
        more = {
            name
            for name, stage in all_stages.items()
            if any(
                f"{dep}/".startswith(f"{out}/") or out.startswith(f"{dep}/")
                for dep in stage["deps"]
                for out in outs
            )
        }
        if more <= affected:
            return affected
        affected |= more
