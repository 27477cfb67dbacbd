"""Folders, trackers and libraries of others for the tests of the trainings."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from tests.helpers.fake_tracker import SAID, Broken, Fake


@pytest.fixture
def opened() -> Iterator[Any]:
    """peft, whose model class asks transformers for a property under its old name."""
    import peft

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield peft.PeftModel


@pytest.fixture
def checkpoint_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints lie in the folder of the test; one is due after every step."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")


@pytest.fixture
def trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the place of the repository, and the fakes in accelerate's table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    monkeypatch.setenv("APO_LOG_WITH", "fake")
    fakes = {"fake": Fake, "broken": Broken}
    monkeypatch.setattr(tracking, "LOGGER_TYPE_TO_CLASS", tracking.LOGGER_TYPE_TO_CLASS | fakes)
    SAID.clear()
