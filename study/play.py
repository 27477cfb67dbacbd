"""Plays games with dvc in copies of the repository that share one cache."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.errors import UserError
from study.pipeline import clear
from study.settings import Changes, Game

ROOT = Path(__file__).resolve().parents[1]
PLAYED = (
    "apo/",
    "stages/",
    "data/input/",
    "data/chat_templates/",
    ".dvc/",
    "dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
)


@dataclass(frozen=True)
class Workspace:
    """The workspace of a worker.

    Attributes:
        copy: See `make_copy`.
        python: Folder of the `python` that runs the stages.
    """

    copy: Path
    python: Path

    @property
    def log(self) -> Path:
        """The output of dvc and the stages."""
        return self.copy.with_suffix(".log")

    @property
    def params(self) -> Path:
        """The params.yaml of the code in the copy, without changes."""
        return self.copy.with_suffix(".yaml")


def make_copy(target: Path, cache: Path) -> Path:
    """Copies the files of a game into a new repository whose dvc cache is `cache`.

    A second copy of params.yaml is kept beside it, so that an edit of the working tree does not change a
    running study.
    """
    shutil.rmtree(target, ignore_errors=True)
    for name in played_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    shutil.copy2(target / "params.yaml", target.with_suffix(".yaml"))
    _run_command(["git", "init", "-q"], target)
    _run_command(["dvc", "config", "--local", "cache.dir", str(cache)], target)
    _run_command(["dvc", "config", "--local", "core.autostage", "false"], target)
    return target


def played_files() -> list[str]:
    """Sorted names of the files of the working tree on which a game may depend, code and parameters."""
    output = _run_command(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    names = sorted(name for name in output.split("\0") if name.startswith(PLAYED))
    return [name for name in names if (ROOT / name).is_file()]


def code_hash() -> str:
    """SHA-256 over `played_files`, names and content."""
    digest = hashlib.sha256()
    for name in played_files():
        digest.update(f"{name}\0{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def hash_of_modules(*names: str) -> str:
    """SHA-256 over modules of this package that a result depends on and `code_hash` does not hold."""
    texts = [(Path(__file__).parent / name).read_bytes() for name in names]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def play(game: Game, workspace: Workspace) -> None:
    """Plays a game in a copy; dvc takes the results that it shares with earlier games from the cache.

    Raises:
        UserError: A stage failed.
    """
    clear(workspace.copy)
    shutil.copy2(workspace.params, workspace.copy / "params.yaml")
    change(workspace.copy / "params.yaml", game.changes)
    _stage(game.title, ["dvc", "repro", *game.targets], workspace)


def rerun(stage: str, workspace: Workspace, title: str, arguments: Mapping[str, Path | str]) -> None:
    """Runs a stage of the last game again with other arguments, outside of dvc.

    Args:
        stage: Its name in dvc.lock, which has the command.
        workspace: The workspace of the game.
        title: For the error message.
        arguments: The changed arguments, by their names without dashes. Paths are inside the copy.

    Raises:
        UserError: The stage failed.
    """
    lock = YAML(typ="safe").load((workspace.copy / "dvc.lock").read_text(encoding="utf-8"))
    words = shlex.split(lock["stages"][stage]["cmd"])
    first = next(index for index, word in enumerate(words) if word.startswith("--"))
    values = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
    values |= {f"--{name}": str(value) for name, value in arguments.items()}
    command = [*words[:first], *(word for option in values.items() for word in option)]
    _stage(title, command, workspace)


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a game: one thread, and the path with these folders and this Python first."""
    path = os.pathsep.join(map(str, [*folders, Path(sys.executable).parent, os.environ["PATH"]]))
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "APO_THREADS": "1"}


def change(path: Path, changes: Changes) -> None:
    """Writes values into a params.yaml.

    Raises:
        UserError: It has no such key.
    """
    yaml = YAML()
    params = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *sections, name = key.split(".")
        section: Any = params
        for section_name in sections:
            section = section.get(section_name, {})
        if name not in section:
            raise UserError(
                "study/settings.yaml", found=key, expected="a key of params.yaml", do="correct the key"
            )
        section[name] = value
    with path.open("w", encoding="utf-8") as out:
        yaml.dump(params, out)


def _stage(title: str, command: list[str], workspace: Workspace) -> None:
    with workspace.log.open("w", encoding="utf-8") as out:
        process = subprocess.run(
            command,
            cwd=workspace.copy,
            env=environment(workspace.python),
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if process.returncode:
        log_lines = workspace.log.read_text(encoding="utf-8").splitlines()
        errors = [line for line in log_lines if line.startswith(("error:", "ERROR:"))]
        raise UserError(
            title,
            found=errors[0] if errors else f"`{' '.join(command[:3])}` exited with {process.returncode}",
            expected="a game that can be played to its end",
            do=f"look at {workspace.log}",
        )


def _run_command(command: list[str], folder: Path) -> str:
    process = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise UserError(
            str(folder),
            found=f"`{' '.join(command)}`: {' '.join(process.stderr.split()) or process.returncode}",
            expected="a git repository, git and dvc",
            do="run `make study` in a clone",
        )
    return process.stdout
