"""The command for a GPU, on a CPU, and the table that it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import BEGIN, DEMO_ROUND, END, FLEX, JOBS, PAGE, RESULTS, ZERO3, main, measure, table
from benchmarks.gpu_processes import in_process

ROOT = Path(__file__).parents[2]
TINY: Any = SimpleNamespace(tiny=True, device=SimpleNamespace(type="cpu"))


def results() -> dict[str, Any]:
    committed: dict[str, Any] = json.loads(RESULTS.read_text())
    return committed


def test_page_scale_shows_the_results_of_the_gpu() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(results())


def test_table_shows_a_failed_job() -> None:
    changed = results()
    changed["jobs"]["sampling"] = {"error": "OutOfMemoryError: 80 GiB"}
    changed["jobs"]["bf16 matmul"] = changed["jobs"]["rewards against the CPU"] = {"error": "none"}
    assert "| sampling | failed: OutOfMemoryError: 80 GiB |" in table(changed)


def test_table_ends_with_the_jobs_that_were_not_measured() -> None:
    changed = results()
    changed["jobs"] |= {name: {"error": "none"} for name in JOBS.keys() - changed["jobs"].keys()}
    assert "Not measured" not in table(changed)
    changed["jobs"][FLEX] = {"not_measured": "no GPU"}
    del changed["jobs"]["sampling"]
    assert table(changed).splitlines()[-1] == f"Not measured: sampling; {FLEX} (no GPU)."


def test_table_has_a_note_on_what_has_no_row() -> None:
    changed = results()
    row = changed["jobs"]["RM training, pairs"]
    changed["jobs"] |= {
        FLEX: row | {"largest_difference": 0.0123, "spread": 0.9},
        ZERO3: row | {"steps": 3, "host_gib": 21.4},
        DEMO_ROUND: {
            "largest_difference": 2e-5,
            "rewards": 1600,
            "accuracy": {"base_rm": [0.6, 0.601], "apo_rm_r1": [0.61, 0.6], "test_rm": [0.65, 0.65]},
        },
    }
    text = table(changed)
    assert f"\n| {FLEX} | 512 | 2.48 | " in text
    assert "FlexAttention differ from those by SDPA by 0.0123 at most" in text
    assert (
        "those of 3 optimizer steps, 0.83 s each. The resident memory of the process peaked at 21 GiB" in text
    )
    assert "1,600 rewards of the stages" in text and "by 2.0e-05 at most (tolerance 0.001)" in text
    assert "base RM 0.600 and 0.601, APO RM 0.610 and 0.600, testing RM 0.650 and 0.650" in text


def test_measure_records_an_error_without_a_message() -> None:
    def fails(bench: Any) -> dict[str, Any]:
        raise AssertionError

    assert measure(TINY, fails)["error"] == "AssertionError: "


def test_in_process_says_which_package_a_job_lacks() -> None:
    missing = in_process(TINY, "trl", needs="no_such_package")
    assert missing == {"not_measured": "no package no_such_package in this environment"}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *options],
        cwd=ROOT,
        env=os.environ | {"APO_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )


def test_main_without_a_gpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU; --tiny"):
        main()


def test_main_keeps_the_results_of_whole_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny"])
    with pytest.raises(SystemExit, match="--tiny and --only need --out FILE"):
        main()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_run_at_a_tiny_size(tmp_path: Path) -> None:
    done = run("--tiny", "--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "gpu.json").read_text())
    jobs = written["jobs"]
    assert jobs.keys() == JOBS.keys()
    assert {name: job["error"] for name, job in jobs.items() if "error" in job} == {}, done.stderr
    reasons = {name: job["not_measured"] for name, job in jobs.items() if "not_measured" in job}
    assert reasons.pop(FLEX).startswith("FlexAttention has no backward pass on a CPU")
    assert reasons in ({}, {"sampling, vLLM": "no package vllm in this environment"})
    assert jobs["rewards against the CPU"]["largest_difference"] == 0
    assert jobs[FLEX]["largest_difference"] < 1e-4 < jobs[FLEX]["spread"]
    for way in ("plain loop", "TRL RewardTrainer"):
        queries = jobs[f"RM training, pairs, {way}"]["queries"]
        assert queries == jobs["RM training, pairs"]["queries"] > 0
    assert jobs[ZERO3]["steps"] == 1 and jobs[ZERO3]["seconds"] > 0 and jobs[ZERO3]["host_gib"] > 0
    played = jobs[DEMO_ROUND]
    assert played["largest_difference"] == 0 and played["rewards"] > 100
    assert played["accuracy"].keys() == {"base_rm", "apo_rm_r1", "test_rm"}
    assert all(on_device == on_cpu for on_device, on_cpu in played["accuracy"].values())
    assert table(written)
