"""A game is played by dvc in a copy of the repository; all copies have one cache."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.errors import UserError
from study.settings import Changes, Game

ROOT = Path(__file__).resolve().parents[1]
PLAYED = ("apo/", "stages/", "data/input/", ".dvc/", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore")


def make_copy(target: Path, cache: Path) -> Path:
    """What the game needs of the working tree as a repository of its own, whose dvc cache is `cache`."""
    shutil.rmtree(target, ignore_errors=True)
    for name in played_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    _run(["git", "init", "-q"], target)
    _run(["dvc", "config", "--local", "cache.dir", str(cache)], target)
    _run(["dvc", "config", "--local", "core.autostage", "false"], target)
    return target


def played_files() -> list[str]:
    """Files of the working tree on which a game may depend, code and parameters, sorted."""
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    names = sorted(name for name in listed.split("\0") if name.startswith(PLAYED))
    return [name for name in names if (ROOT / name).is_file()]


def code_hash() -> str:
    """SHA-256 over `played_files`, names and content."""
    found = hashlib.sha256()
    for name in played_files():
        found.update(f"{name}\0{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def key_of(game: Game, code: str) -> str:
    """What a result is kept under: the code, the parameters, the stages that are played."""
    said = json.dumps([code, game.changes, game.targets], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def play(game: Game, copy: Path, log: Path, python: Path) -> None:
    """Plays a game in a copy; dvc takes from the cache what another game has computed before.

    Args:
        game: What to play.
        copy: Where, see `make_copy`.
        log: Receives what dvc and the stages say.
        python: Folder of the `python` that runs the stages.

    Raises:
        UserError: A stage failed.
    """
    for old in ("metrics", "data/answers", "data/evaluate"):  # a shorter game leaves those of the last one
        shutil.rmtree(copy / old, ignore_errors=True)
    shutil.copy2(ROOT / "params.yaml", copy / "params.yaml")
    change(copy / "params.yaml", game.changes)
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            ["dvc", "repro", *game.targets],
            cwd=copy,
            env=environment(python),
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if line.startswith(("error:", "ERROR:"))]
        raise UserError(
            game.title,
            found=said[0] if said else f"dvc repro ended with {done.returncode}",
            expected="a game that can be played to its end",
            do=f"look at {log}",
        )


def environment(*first: Path) -> dict[str, str]:
    """One thread a game, and on the path some folders and this Python first."""
    path = os.pathsep.join(map(str, [*first, Path(sys.executable).parent, os.environ["PATH"]]))
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "APO_THREADS": "1"}


def change(path: Path, changes: Changes) -> None:
    """Writes values into a params.yaml.

    Raises:
        UserError: It has no such key.
    """
    yaml = YAML()
    params = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parts, last = key.split(".")
        section: Any = params
        for part in parts:
            section = section.get(part, {})
        if last not in section:
            raise UserError(
                "study/settings.yaml", found=key, expected="a key of params.yaml", do="correct the key"
            )
        section[last] = value
    with path.open("w", encoding="utf-8") as out:
        yaml.dump(params, out)


def _run(command: list[str], where: Path) -> str:
    done = subprocess.run(command, cwd=where, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            str(where),
            found=f"`{' '.join(command)}`: {' '.join(done.stderr.split()) or done.returncode}",
            expected="a git repository, git and dvc",
            do="run `make study` in a clone",
        )
    return done.stdout
