"""The small file of comparisons."""

from pathlib import Path

import pytest

from apo.core.records import write_rows
from tests.helpers.inspected import ROWS


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_rows(tmp_path / "pairs.jsonl", ROWS)
    return tmp_path / "pairs.jsonl"
