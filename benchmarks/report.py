"""From measured times to `results.json` and the table of the README."""

import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Measured, Plan
from benchmarks.ways import WAYS

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- made by make bench -->\n", "<!-- end -->\n"
TASKS = {
    "train_pairs": "RM training, pairs",
    "train_apo": "APO training, golden + 4 samples",
    "score": "scoring, 4 samples per query",
    "sample": "sampling, 4 responses per query",
    "sample_other": "sampling, 4 responses per query",
}


def machine_facts() -> dict[str, Any]:
    """The machine by its kind, without its name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("APO_THREADS", "2")),
        "memory_gb": round(memory_bytes / 1e9),
        **{name: metadata.version(name) for name in ("torch", "transformers", "trl")},
    }


def job_results(
    plan: Plan, measurements: Mapping[str, Measured], *, flops: Mapping[str, int], rate: float
) -> dict[str, Any]:
    """The numbers of one job.

    Args:
        flops: Operations that the computation needs, by a name for how they are counted.
        rate: Operations a second of a large matrix multiplication.

    Returns:
        `vs_WAY`: seconds of a way over this project's, for sampling seconds a token; `seconds` (medians),
        `repeats`, `peak_mb`, `imported_mb` and `growth` by way; for every count of operations `matmul_NAME`:
        the seconds that they take at the rate, over this project's.
    """
    costs = {name: m.median() for name, m in measurements.items()}
    results: dict[str, Any] = {"job": plan.job, "model": plan.size, "rows": plan.rows}
    if plan.job.startswith("sample"):
        results["tokens"] = {name: m.values for name, m in measurements.items()}
        results["vs_in_seconds"] = _ratios(costs)
        costs = {
            name: median(seconds / tokens for seconds, tokens in zip(m.seconds[1], m.values, strict=True))
            for name, m in measurements.items()
        }
        results["seconds_a_token"] = {name: _round(cost) for name, cost in costs.items()}
    results |= {f"vs_{name}": ratio for name, ratio in _ratios(costs).items()}
    results["seconds"] = {name: _round(m.median()) for name, m in measurements.items()}
    results["repeats"] = {
        name: [_round(seconds) for seconds in m.seconds[1]] for name, m in measurements.items()
    }
    results["peak_mb"] = {name: round(m.peak_mb) for name, m in measurements.items()}
    results["imported_mb"] = {name: round(m.imported_mb) for name, m in measurements.items()}
    results["growth"] = {
        name: {
            str(multiple): _round(m.median(multiple) / m.median()) for multiple in m.seconds if multiple > 1
        }
        for name, m in measurements.items()
    }
    ours = measurements["ours"].median()
    results |= {f"matmul_{name}": _round(count / rate / ours) for name, count in flops.items()}
    return results


def _ratios(costs: Mapping[str, float]) -> dict[str, float]:
    """Beside this project's."""
    return {name: _round(cost / costs["ours"]) for name, cost in costs.items() if name != "ours"}


def table(results: Mapping[str, Any]) -> str:
    """The table in Markdown, over it the machine and the data, under it the limit."""
    machine, data = results["machine"], results["data"]
    models = ", ".join(f"{name} = {count:,} parameters" for name, count in results["models"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; "
        f"{machine['threads']} threads, float32, torch {machine['torch']}, "
        f"transformers {machine['transformers']}, TRL {machine['trl']}.",
        f"Llama with random weights: {models}; vocabulary {data['vocabulary']:,}, `max_length` "
        f"{data['max_length']}.",
        f"Texts: {data['source']}, with the query {data['text_tokens_mean']:.0f} tokens on average, median "
        f"{data['text_tokens_median']}; {data['cut_queries']} of {data['encoded_queries']} queries are "
        "truncated.",
        "",
        "| job | implementation | seconds | times this project | peak MB (after imports) | 2x rows "
        "| 4x rows |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in _jobs(results):
        for name, seconds in result["seconds"].items():
            ratio = "1" if name == "ours" else f"{result[f'vs_{name}']:.2f}"
            growth = [result["growth"][name].get(multiple) for multiple in ("2", "4")]
            lines.append(
                f"| {_task(result)} | {WAYS[result['job']][name].title} | {seconds:.2f} | {ratio} "
                f"| {result['peak_mb'][name]:,} ({result['imported_mb'][name]:,}) "
                f"| {' | '.join('' if factor is None else f'{factor:.2f}' for factor in growth)} |"
            )
    lines += [
        "",
        f"The limit: a product of two 4096 x 4096 matrices runs at {results['matmul_gflops']:.0f} GFLOP/s.",
        "",
        "| job | fraction of the time | were the last layer computed for all tokens |",
        "|---|---|---|",
    ]
    lines += [
        f"| {_task(result)} | {result['matmul_fraction']:.2f} | {result['matmul_fraction_all_layers']:.2f} |"
        for result in _jobs(results)
        if "matmul_fraction" in result
    ]
    return "\n".join(lines) + "\n"


def _task(result: Mapping[str, Any]) -> str:
    return f"{TASKS[result['job']]}, {result['model']}, {result['rows']} rows"


def _jobs(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (result for result in results.values() if isinstance(result, dict) and "job" in result)


def _round(number: float) -> float:
    """Four digits: more are not measured."""
    return float(f"{number:.4g}")
