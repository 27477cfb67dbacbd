"""apo/model/versions.py: the versions that stages depend on are those that are installed and pinned."""

import re

import pytest

from apo.model import versions
from tests.helpers.import_closure import ROOT, closure


def test_installed_versions_are_the_pins_of_requirements() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE))
    assert {name: pins[name] for name in versions.VERSIONS} == versions.VERSIONS


@pytest.mark.parametrize("stage", ["backbone", "train_apo_rm", "sample", "score", "align", "evaluate_rm"])
def test_versions_are_code_of_every_stage_that_computes(stage: str) -> None:
    assert "apo/model" in closure(ROOT / f"stages/{stage}.py")


def test_warn_of_other_versions_names_the_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.warn_of_other_versions()
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(versions.VERSIONS, "torch", "1.0.0")
    monkeypatch.setitem(versions.VERSIONS, "not-there", "1.0.0")
    versions.warn_of_other_versions()
    stderr = capsys.readouterr().err
    assert stderr.startswith("torch 2.") and "are those of 1.0.0" in stderr and "not-there" not in stderr
