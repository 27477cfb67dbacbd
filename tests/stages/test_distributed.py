"""stages/distributed.py: the command of a stage, with and without a launcher."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.distributed import command
from tests.helpers.small_repo import ROOT


@pytest.mark.parametrize("launcher", [None, "", "  "])
def test_command_without_a_launcher_is_this_python(
    monkeypatch: pytest.MonkeyPatch, launcher: str | None
) -> None:
    monkeypatch.delenv("APO_LAUNCH", raising=False)
    if launcher is not None:
        monkeypatch.setenv("APO_LAUNCH", launcher)
    assert command("score", ["--name", "a b"]) == [sys.executable, "-m", "stages.score", "--name", "a b"]


def test_command_begins_with_the_words_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LAUNCH", "env 'A=b c' python")
    assert command("align", ["--out", "x"]) == ["env", "A=b c", "python", "-m", "stages.align", "--out", "x"]


@pytest.mark.parametrize(
    ("launcher", "found"),
    [("torchrunn -n 2", "'torchrunn', which is no program"), ("a 'b", "No closing quot")],
)
def test_distributed_refuses_what_is_no_command(launcher: str, found: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages.distributed", "score"],
        cwd=ROOT,
        env=os.environ | {"APO_LAUNCH": launcher},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: APO_LAUNCH: found ") and found in done.stderr


def test_distributed_becomes_the_stage(tmp_path: Path) -> None:
    """Whatever shell DVC uses: none is asked."""
    environment = os.environ | {"APO_LAUNCH": f"env MARK=1 {sys.executable}"}
    done = subprocess.run(
        [sys.executable, "-m", "stages.distributed", "convert", "--help"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "--golden" in done.stdout
