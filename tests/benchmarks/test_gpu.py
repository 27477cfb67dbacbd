"""The command for a GPU, on a CPU, and the table that it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import BEGIN, END, JOBS, PAGE, RESULTS, table

ROOT = Path(__file__).parents[2]


def test_page_scale_shows_the_results_of_the_gpu() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(json.loads(RESULTS.read_text()))


def test_table_shows_a_failed_job() -> None:
    results = json.loads(RESULTS.read_text())
    results["jobs"]["sampling"] = {"error": "OutOfMemoryError: 80 GiB"}
    assert "| sampling | failed: OutOfMemoryError: 80 GiB |" in table(results)


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *options],
        cwd=ROOT,
        env=os.environ | {"APO_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_main_without_a_gpu_says_what_to_do() -> None:
    done = run()
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("benchmarks.gpu: no GPU; --tiny")


@pytest.mark.slow
def test_jobs_run_at_a_tiny_size(tmp_path: Path) -> None:
    done = run("--tiny", "--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr
    jobs = json.loads((tmp_path / "gpu.json").read_text())["jobs"]
    assert jobs.keys() == JOBS.keys()
    assert not [job for job in jobs.values() if "error" in job]
    assert jobs["rewards against the CPU"]["largest_difference"] == 0
