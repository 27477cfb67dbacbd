"""study/play.py: changes of parameters, what a game depends on, a stage that runs again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apo.core.errors import UserError
from study import play
from study.play import Workspace, rerun
from study.settings import Game
from tests.helpers.small_repo import ROOT


def test_change_refuses_a_key_that_is_not_there(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    with pytest.raises(UserError, match=r"apo\.coef;"):
        play.change(params, {"apo.coef": 1.0})


def test_played_files_are_code_and_parameters_and_no_results() -> None:
    files = play.played_files()
    assert {"params.yaml", "dvc.yaml", "apo/core/config.py", "stages/align.py"} <= set(files)
    assert not any(name.startswith(("study/", "tests/", "metrics/")) for name in files)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With a stage that writes its arguments."""
    copy = tmp_path / "copy"
    (copy / "stages").mkdir(parents=True)
    (copy / "stages/echo.py").write_text(
        "import json, sys\nif '--fail' in sys.argv: sys.exit('error: said so')\n"
        "json.dump(sys.argv[1:], open('written', 'w'))\n",
        encoding="utf-8",
    )
    lock = {"stages": {"echo@round0": {"cmd": "python -m stages.echo --name 'a b' --out models/x"}}}
    (copy / "dvc.lock").write_text(json.dumps(lock), encoding="utf-8")
    return Workspace(copy, Path(sys.executable).parent)


def test_rerun_has_the_arguments_of_dvc_but_for_those_given(workspace: Workspace) -> None:
    rerun("echo@round0", workspace, "a stage", {"out": Path("other"), "params": "p.yaml"})
    written = json.loads((workspace.copy / "written").read_text(encoding="utf-8"))
    assert written == ["--name", "a b", "--out", "other", "--params", "p.yaml"]


def test_play_starts_from_the_parameters_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of the working tree does not reach a study that is being played."""
    tree = tmp_path / "tree"
    (tree / ".dvc").mkdir(parents=True)
    (tree / ".dvc/config").touch()
    (tree / "params.yaml").write_text("seed: 1\nrate: 0.5\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    monkeypatch.setattr(play, "ROOT", tree)
    workspace = Workspace(play.make_copy(tmp_path / "copy", tmp_path / "cache"), Path(sys.executable).parent)
    (tree / "params.yaml").write_text("other: 2\n", encoding="utf-8")
    commands: list[list[str]] = []
    monkeypatch.setattr(play, "_stage", lambda title, command, workspace: commands.append(command))
    play.play(Game("method", "rjs", 3, {"seed": 3}, ["evaluate"]), workspace)
    assert (workspace.copy / "params.yaml").read_text(encoding="utf-8") == "seed: 3\nrate: 0.5\n"
    assert commands == [["dvc", "repro", "evaluate"]]


def test_rerun_says_what_a_failed_stage_said(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="error: said so"):
        rerun("echo@round0", workspace, "a stage", {"fail": "1"})
