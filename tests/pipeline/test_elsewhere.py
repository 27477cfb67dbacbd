"""docs/elsewhere.md on checkpoints, sharing and sweeps: every command is run, and prints what it says."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apo.core.records import write_rows
from apo.model.checkpoint import save_reward_model
from tests.helpers import tiny_models as tiny
from tests.helpers.played_repo import dvc, git
from tests.helpers.small_repo import ROOT, change_params, run
from tests.pipeline.test_interop import COMPARISONS, REWARDBENCH, write_selection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PAGE = (ROOT / "docs/elsewhere.md").read_text(encoding="utf-8")
STAGES = """\
stages:
  toy:
    cmd: echo done > toy.txt
    params: [apo.coeff]
    outs: [toy.txt]
"""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str, kind: str) -> list[str]:
    """The code blocks of a section that are of a kind."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", section(title), flags=re.DOTALL | re.MULTILINE)
    return [text for language, text in fenced if language == kind]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with checkpoints and files under the names of a played game, and this one's artifacts."""
    folder = tmp_path_factory.mktemp("readme") / "apo"
    tiny.backbone(folder / "models" / "actor")
    tiny.backbone(folder / "models" / "llm_apo" / "r1")
    reward_model = tiny.reward_model(folder / "models" / "actor", max_length=256)
    save_reward_model(reward_model, folder / "models" / "rm_apo" / "r1", tiny.CARD)
    write_selection(folder / "data/rjs/r1/apo.jsonl")
    write_rows(folder / "data/split/test.jsonl", COMPARISONS)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"))
    change_params(folder / "params.yaml", {"rounds": [{"id": "r1", "prev": "r0"}]})
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (folder / "dvc.yaml").write_text(
        STAGES + "artifacts:" + text.split("\nartifacts:")[1].split("\nplots:")[0]
    )
    for name in ("apo", "benchmarks", "stages", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".gitignore").write_text("/apo\n/benchmarks\n/stages\n/Makefile\n")
    git(folder, "init", "-q")
    for key, value in (("name", "test"), ("email", "test@example.org")):
        git(folder, "config", f"user.{key}", value)
    dvc(folder, "init", "-q")
    dvc(folder, "add", "-q", "models/rm_apo/r1")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "played")
    return folder


def printed(repository: Path, script: str, **environment: str) -> str:
    """What lines of a shell print; a worker that they start does not hold a pipe open."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (repository / "printed.tmp").open("w+") as out:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=repository,
            env=os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1"} | environment,
            stdout=out,
            stderr=subprocess.PIPE if "queue start" not in script else subprocess.DEVNULL,
        )
        out.seek(0)
        text = out.read()
    assert done.returncode == 0, text + (done.stderr or b"").decode()
    return text


def steps(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return [(step.split("\n", 1)[0], step.split("\n", 1)[1]) for step in parts[1:]]


def test_transformers_pipeline_prints_rewards(repository: Path, tmp_path: Path) -> None:
    code, expected = (
        blocks("Use a checkpoint elsewhere", "python")[0],
        blocks("Use a checkpoint elsewhere", "")[0],
    )
    (tmp_path / "example.py").write_text(code)
    output = printed(repository, f"python {tmp_path / 'example.py'}")
    assert re.sub(r"-?\d\.\d\d", "#", output) == re.sub(r"-?\d\.\d\d", "#", expected)


def test_trl_trains_on_what_the_pipeline_wrote(repository: Path, tmp_path: Path) -> None:
    commands, code = (
        blocks("Use a checkpoint elsewhere", "sh")[0],
        blocks("Use a checkpoint elsewhere", "python")[1],
    )
    assert (
        printed(repository, commands) == "pairs.jsonl: 9 rows\nmessages.jsonl: 9 rows\ntext.jsonl: 9 rows\n"
    )
    (tmp_path / "example.py").write_text(code)
    output = printed(repository, f"python {tmp_path / 'example.py'}", HF_HOME=str(tmp_path / "cache"))
    assert output.count("'train_loss'") == 3, output


@pytest.mark.skipif(not REWARDBENCH.is_dir(), reason="make interop installs RewardBench")
def test_rewardbench_reads_the_export(repository: Path, tmp_path: Path) -> None:
    install, *commands = blocks("Use a checkpoint elsewhere", "sh")[1].splitlines()
    assert install == "make interop"  # is this test's neighbour
    script = "\n".join(commands).replace("=.venv/", f"=.:{ROOT}/.venv/")
    output = printed(repository, script, HF_HOME=str(tmp_path / "cache"))
    assert re.search(r"Results: [\d.]+, on 17 prompts", output), output


def test_the_servers_are_given_folders_of_the_pipeline() -> None:
    """They are not run here, which the page says."""
    last = blocks("Use a checkpoint elsewhere", "sh")[-1]
    assert set(re.findall(r"models/\S+", last)) == {"models/rm_apo/r1", "models/llm_apo/r1"}
    assert "these lines were not run" in section("Use a checkpoint elsewhere")


def test_models_are_shared_registered_and_fetched(repository: Path, tmp_path: Path) -> None:
    share, fetch = blocks("Share, register, fetch", "")
    for command, expected in steps(share):
        assert (
            printed(repository, command.replace("/mnt/models/apo", str(tmp_path / "remote"))) == expected
        ), command
    for command, expected in steps(fetch):
        assert printed(tmp_path, command.replace("/home/me/apo", str(repository))) == expected, command
    for file in (tmp_path / "judge").iterdir():
        assert file.read_bytes() == (repository / "models/rm_apo/r1" / file.name).read_bytes()


def test_the_artifacts_are_the_models_of_the_last_round(tmp_path: Path) -> None:
    """By dvc's own reading of dvc.yaml, with two rounds, and each is an output of a stage."""
    from dvc.repo import Repo

    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"))
    change_params(tmp_path / "params.yaml", {"rounds": [{"id": "a", "prev": "r0"}, {"id": "b", "prev": "a"}]})
    git(tmp_path, "init", "-q")
    run(["dvc", "init", "-q"], tmp_path)
    with Repo(str(tmp_path)) as repo:
        artifacts = repo.artifacts.read()["dvc.yaml"]
        outs = {Path(out.fs_path).relative_to(tmp_path).as_posix() for out in repo.index.outs}
    assert {name: artifact.path for name, artifact in artifacts.items()} == {
        "rm-base": "models/rm_base",
        "rm-apo": "models/rm_apo/b",
        "rm-test": "models/rm_test",
        "llm-base": "models/llm_base/b",
        "llm-apo": "models/llm_apo/b",
    }
    assert {artifact.path for artifact in artifacts.values()} <= outs
    for name, artifact in artifacts.items():
        assert artifact.type == "model" and artifact.desc and len(artifact.labels) == 2
        assert f"`{name}`" in section("Share, register, fetch")


def test_sweep_is_queued_and_started(repository: Path, tmp_path: Path) -> None:
    [block] = blocks("A sweep on several GPUs", "")
    for command, expected in steps(block):
        assert printed(repository, command, TMPDIR=str(tmp_path)) == expected, command
    for _ in range(120):
        status = dvc(repository, "queue", "status")
        if status.count("Success") == 2:
            break
        time.sleep(2)
    assert status.count("Success") == 2, status
    shown: Any = json.loads(dvc(repository, "exp", "show", "--json"))
    assert "sweep-1" in json.dumps(shown) and "sweep-2" in json.dumps(shown)
