"""benchmarks/report.py: ratios of medians, and the table that replaces the one before."""

from typing import Any

from benchmarks.measure import Measured, Plan
from benchmarks.report import job_results, table
from benchmarks.ways import WAYS


def measured(*seconds: float, values: list[Any], more: dict[int, list[float]] | None = None) -> Measured:
    return Measured(100.0, {1: list(seconds), **(more or {})}, values, 250.0)


def test_job_results_are_ratios_of_medians() -> None:
    plan = Plan("train_pairs", "train_pairs", "5M", 64, 3)
    measurements = {
        "authors": measured(4.0, 9.0, 5.0, values=[0.7] * 3, more={2: [15.0]}),
        "ours": measured(2.0, 1.0, 2.5, values=[0.7] * 3),
    }
    results = job_results(plan, measurements, flops={"fraction": 120}, rate=100.0)
    assert results["vs_authors"] == 2.5
    assert results["growth"] == {"authors": {"2": 3.0}, "ours": {}}
    assert results["seconds"] == {"authors": 5.0, "ours": 2.0}
    assert results["peak_mb"] == {"authors": 250, "ours": 250}
    assert results["matmul_fraction"] == 0.6
    assert "vs_ours" not in results


def test_job_results_of_sampling_are_per_token() -> None:
    plan = Plan("sample", "sample", "5M", 16, 1)
    measurements = {"plain": measured(6.0, values=[300]), "ours": measured(2.0, values=[200])}
    results = job_results(plan, measurements, flops={}, rate=1.0)
    assert results["vs_plain"] == 2.0
    assert results["vs_in_seconds"] == {"plain": 3.0}
    assert "matmul_fraction" not in results


def test_table_has_a_row_for_every_implementation() -> None:
    plan = Plan("train_pairs", "train_pairs", "5M", 64, 1)
    measurements = {name: measured(1.0, values=[0.7]) for name in plan.chosen}
    results = {
        "machine": dict.fromkeys(
            ["cpu", "cores", "threads", "memory_gb", "torch", "transformers", "trl"], "?"
        ),
        "models": {"5M": 5},
        "data": {
            "source": "x",
            "vocabulary": 1,
            "max_length": 512,
            "text_tokens_mean": 1.0,
            "text_tokens_median": 1,
            "cut_queries": 0,
            "encoded_queries": 1,
        },
        "train_pairs": job_results(
            plan, measurements, flops={"fraction": 1, "fraction_all_layers": 1}, rate=1.0
        ),
        "matmul_gflops": 1.0,
    }
    text = table(results)
    assert "| RM training, pairs, 5M, 64 rows | 1.00 | 1.00 |" in text
    assert all(f"| {way.title} | 1.00 |" in text for way in WAYS["train_pairs"].values())
