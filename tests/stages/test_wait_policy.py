"""stages/__init__.py: a Python without the packages, and how long threads spin before they sleep."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def openmp() -> str:
    """The OpenMP that torch brings: alone it loads in a moment, and reads the environment as with torch."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    found = sorted((Path(spec.origin).parent / "lib").glob("libgomp*"))
    return (
        str(found[0]) if found else pytest.skip("another OpenMP than that of GNU, which alone reports this")
    )


def spins(code: str, **environment: str) -> int:
    """How often a waiting thread looks before it sleeps, once a Python process has run some code."""
    code += f"; import ctypes; ctypes.CDLL({openmp()!r})"
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=rest | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    counts = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    return int(counts[0])


def test_threads_without_a_stage_spin_for_long() -> None:
    """Else there would be nothing to set, and the next test could not fail."""
    assert spins("pass") > 100_000


def test_stages_make_waiting_threads_sleep_soon() -> None:
    """By the package, which Python imports before any module of it."""
    assert spins("import stages") == 1000


def test_environment_overrides_the_wait_policy() -> None:
    assert spins("import stages", OMP_WAIT_POLICY="active") > 100_000
    assert spins("import stages", OMP_WAIT_POLICY="passive") == 0
    assert spins("import stages", GOMP_SPINCOUNT="17") == 17


def test_a_python_without_the_packages_says_what_to_do() -> None:
    """As where `dvc repro` runs without the environment; -S leaves the packages out."""
    command = [sys.executable, "-S", "-m", "stages.train_base_rm"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "found no torch" in done.stderr and "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr
