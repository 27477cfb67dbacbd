"""A folder with a small run."""

from pathlib import Path

import pytest

from tests.helpers.report_run import write_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, where the test is."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
