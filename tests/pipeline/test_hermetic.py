"""A stage reads nothing that it does not declare and declares nothing that it does not read: `make hermetic`.

Every stage runs in an empty folder that holds its declared inputs, code and parameters alone, without network
where the system can take it away, at another time, with another language, home and hash seed, and has to
write the very bytes that it wrote in the repository.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.helpers.played_repo import stages, written
from tests.helpers.small_repo import ROOT, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OTHER_SETTINGS = {
    ("data", "data/input"): "data.source: files or hub",
    ("backbone", "data/chat_templates"): "backbone.chat_template: a file",
    ("actor", "data/chat_templates"): "actor.chat_template: a file",
    ("train_base_rm", "data/split/rm_valid.jsonl"): "rm.eval_steps",
    ("train_apo_rm@round0", "data/split/rm_valid.jsonl"): "rm.eval_steps",
    ("train_apo_rm@round0", "models/rm_base"): "apo.init_from: base_rm",
    ("train_apo_rm@round0", "models/rm_apo/r0"): "apo.init_from: previous",
    ("judge", "data/evaluate/r1"): "judge.model",
    ("judge", "apo/metrics"): "judge.model",
    ("tables@round0", "metrics/tables/r0"): "a second round",
    **{("start", f"models/{name}"): "linked, which is no reading" for name in ("actor", "rm_base")},
    ("plots", "metrics/tables/r1"): "linked, which is no reading",
}
"""Inputs that the settings of the demo do not read, with the setting that does."""

ELSEWHERE = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONHASHSEED": "4711",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "3",
    "APO_CHECKPOINT_SECONDS": "0",
    "COLUMNS": "40",
}
"""Another language, time zone, hash seed, thread environment than the game was played in."""

ALONE = """
import json, os, runpy, sys
paths = [os.path.abspath(name) for name in json.load(open("declared.json"))]
for path in paths:
    os.utime(path, (0, os.stat(path).st_mtime))
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    unread = [os.path.relpath(path) for path in paths if os.stat(path).st_atime == 0]
    json.dump(unread, open("unread.json", "w"))
"""
"""Runs a stage and notes which declared files it has not read."""

OFFLINE = ["unshare", "--map-root-user", "--net"]


def offline() -> list[str]:
    """What takes the network from a command; nothing where the system has no such thing."""
    if shutil.which(OFFLINE[0]) and subprocess.run([*OFFLINE, "true"], capture_output=True).returncode == 0:
        return OFFLINE
    return []


def declared_parameters(stage: dict[str, Any], params: Any) -> dict[str, Any]:
    """The parameters with the declared keys alone."""
    kept: dict[str, Any] = {}
    for name in stage.get("params", []):
        *path, last = name.split(".")
        source, target = params, kept
        for key in path:
            source, target = source[key], target.setdefault(key, {})
        target[last] = source[last]
    return kept


def copy_declared(stage: dict[str, Any], repository: Path, sandbox: Path) -> list[Path]:
    """Copies the inputs of a stage into an empty folder; the files."""
    files = []
    for dep in stage["deps"]:
        source = repository / dep
        members = [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]
        for member in members:
            if "__pycache__" in member.parts:
                continue
            target = sandbox / member.relative_to(repository)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(member, target)
            files.append(target)
    return files


def files_below(root: Path, names: list[str]) -> dict[str, bytes]:
    """The content of files, and of all files in folders, by name."""
    files = {}
    for name in names:
        path = root / name
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        files |= {member.relative_to(root).as_posix(): member.read_bytes() for member in members}
    return files


def all_files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, deeper than the repository; beside it the home of somebody else."""
    path = tmp_path / "deeper" / "ünder another name"
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path)


def run_alone(stage: dict[str, Any], params: dict[str, Any], sandbox: Path) -> Any:
    """The stage's command in the sandbox."""
    (sandbox / "declared.json").write_text(json.dumps(sorted(all_files(sandbox))))
    with (sandbox / "params.yaml").open("w") as out:
        YAML().dump(params, out)
    (sandbox / "alone.py").write_text(ALONE)
    command = re.sub(r"^python -m stages\.(distributed )?", "python alone.py stages.", stage["cmd"])
    home = sandbox.with_name("home of somebody else")
    home.mkdir()
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ".", "DVC_ROOT": str(sandbox)}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")} | ELSEWHERE
    return run([*offline(), "sh", "-c", command], sandbox, **environment)


@pytest.mark.parametrize("name", stages(ROOT))
def test_a_stage_needs_what_it_declares_and_no_more(name: str, game: Path, sandbox: Path) -> None:
    stage = stages(game)[name]
    params = YAML(typ="safe").load((game / "params.yaml").read_text())
    inputs = [path.relative_to(sandbox).as_posix() for path in copy_declared(stage, game, sandbox)]
    done = run_alone(stage, declared_parameters(stage, params), sandbox)
    assert done.returncode == 0, done.stderr
    assert files_below(sandbox, written(stage)) == files_below(game, written(stage))

    given = {"alone.py", "declared.json", "unread.json", "params.yaml", *inputs}
    outputs = {name for name in all_files(sandbox) - given if not name.startswith(".cache/")}
    assert outputs == set(files_below(game, written(stage)))  # and nothing else was written

    if not shows_reading(sandbox):
        return  # test_reading_shows_in_the_access_time says so
    unread = set(json.loads((sandbox / "unread.json").read_text()))
    for dep in stage["deps"]:
        members = {path for path in inputs if path == dep or path.startswith(f"{dep}/")}
        if (name, dep) in OTHER_SETTINGS:
            continue
        assert not members or members - unread, f"{name} declares {dep} and reads nothing of it"


def shows_reading(folder: Path) -> bool:
    """Whether the file system records when a file is read."""
    path = folder / "probe"
    path.write_text("x")
    os.utime(path, (0, path.stat().st_mtime))
    path.read_text()
    return path.stat().st_atime != 0


def test_reading_shows_in_the_access_time(tmp_path: Path) -> None:
    """Otherwise nothing can be said about what is declared and not read."""
    if not shows_reading(tmp_path):
        pytest.skip("this file system does not record when a file is read")


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("split", "apo/splits"),
        ("rjs@round0-apo", "data/scores/r1/apo.jsonl"),
    ],
)
def test_what_is_not_declared_is_missed(name: str, missing: str, game: Path, sandbox: Path) -> None:
    """The test of the test: a stage without one of its inputs fails."""
    stage = stages(game)[name]
    stage["deps"].remove(missing)
    copy_declared(stage, game, sandbox)
    params = YAML(typ="safe").load((game / "params.yaml").read_text())
    assert run_alone(stage, declared_parameters(stage, params), sandbox).returncode != 0


def test_a_parameter_that_is_not_declared_is_missed(game: Path, sandbox: Path) -> None:
    stage = stages(game)["convert@round0"]
    copy_declared(stage, game, sandbox)
    params = YAML(typ="safe").load((game / "params.yaml").read_text())
    kept = declared_parameters(stage, params)
    del kept["convert"]
    done = run_alone(stage, kept, sandbox)
    assert done.returncode == 1 and "params.yaml: convert: found no such key" in done.stderr
