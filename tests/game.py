"""A small game played by dvc, and what the tests ask of dvc."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from small import run


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
    found = {}
    params = YAML(typ="safe").load((repository / "params.yaml").read_text())
    for name, stage in YAML(typ="safe").load((repository / "dvc.yaml").read_text())["stages"].items():
        for item in stage.get("foreach", [None]):
            body = json.dumps(stage.get("do", stage)).replace("${item}", str(item))
            for place in set(re.findall(r"\$\{([\w.]+)\}", body)):
                value = params
                for key in place.split("."):
                    value = value[key]
                body = body.replace("${" + place + "}", value)
            found[name if item is None else f"{name}@{item}"] = json.loads(body)
    return found


def downstream(all_stages: dict[str, Any], changed: set[str]) -> set[str]:
    """The changed stages and every one that depends on an output of theirs."""
    affected = set(changed)
    while True:
        outs = {out for name in affected for out in all_stages[name]["outs"]}
        more = {
            name
            for name, stage in all_stages.items()
            if any(dep == out or dep.startswith(out + "/") for dep in stage["deps"] for out in outs)
        }
        if more <= affected:
            return affected
        affected |= more
