"""A small backbone."""

from pathlib import Path

import pytest

from tests.helpers import tiny_models as tiny


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return tiny.backbone(tmp_path / "backbone")
