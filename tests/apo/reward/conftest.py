"""A folder in which a small reward model can be trained."""

from pathlib import Path

import pytest

from apo.core.records import write_rows
from tests.helpers import tiny_models as tiny
from tests.helpers.reward_repo import COMPARISONS, GOLDEN, set_params


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a backbone and comparisons."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("backbone"))
    write_rows(Path("train.jsonl"), COMPARISONS)
    write_rows(Path("golden.jsonl"), [GOLDEN])
    set_params()
