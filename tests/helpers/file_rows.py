"""Rows of files, and reading in a process with bounded memory."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apo.datasets.rows import file_rows

ROW = {"query": "\n\nHuman: Why?\n\nAssistant:", "responses": ["good", "bad"], "scores": [1, 0]}
LINE = json.dumps(ROW).encode() + b"\n"


def rows(path: Path) -> list[Any]:
    """The rows of a file as they are parsed."""
    return [located.row for located in file_rows(path, path.name)]


def written(path: Path, data: bytes) -> Path:
    """The path of a file that now holds the data."""
    path.write_bytes(data)
    return path


class Limited:
    """Runs a reading in a process that may have 700 MiB and some seconds."""

    CODE = (
        "import resource, sys; from pathlib import Path; from collections import Counter\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)\n"
        "from apo.core.config import read_section; from apo.core.errors import UserError\n"
        "from apo.core.data_issues import DataIssues; from apo.datasets.readers import read_comparisons\n"
        "from apo.datasets.file_reader import ReadOptions; from apo.datasets.issues import ROW_ISSUES\n"
        "actions = read_section(Path('params.yaml'), 'data.on_issue', ROW_ISSUES.settings).actions()\n"
        "issues = DataIssues(ROW_ISSUES, actions)\n"
        "rows = read_comparisons(Path(sys.argv[1]), Counter(), issues, ReadOptions())\n"
        "try: print(sum(1 for _ in rows), 'rows')\n"
        "except UserError as error: print(error)\n"
        "print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) >> 10)"
    )

    @classmethod
    def read(cls, path: Path, *, mebibytes: int = 700) -> tuple[str, int, float]:
        """What the process prints, its peak memory in MiB, and the seconds it took."""
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", cls.CODE, str(path), str(mebibytes << 20)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 0, done.stderr[-2000:]
        message, peak = done.stdout.splitlines()
        return message, int(peak), time.monotonic() - start


def repeated(chunk: bytes, times: int, start: bytes = b"") -> Iterator[bytes]:
    """One chunk many times, behind a start."""
    yield start
    for _ in range(times):
        yield chunk


MIB = 2**20
HUGE = b"a" * MIB


def quick(names: Iterable[str], *few: str) -> list[Any]:
    """All names, those but a few as slow ones."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in names]
