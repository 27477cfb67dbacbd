"""study/play.py: changes of parameters, what a game depends on, a stage that runs again."""

import json
import sys
from pathlib import Path

import pytest

from apo.core.errors import UserError
from study import play
from study.play import Workspace, rerun
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


def test_rerun_says_what_a_failed_stage_said(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="error: said so"):
        rerun("echo@round0", workspace, "a stage", {"fail": "1"})
