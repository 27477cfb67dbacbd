"""Time and memory on a GPU, measured in one run: `python -m benchmarks.gpu` writes `gpu.json`.

Llamas with random weights read generated comparisons in the lengths of Helpful&Harmless. The optimizer steps
are those of the stages: bf16 layers, float32 weights. The table in docs/scale.md is made from `gpu.json`. A
whole run is made for less than ten minutes on one H100 or H200. `--tiny --out FILE` runs all jobs on any
machine in a few minutes, as a test of the command; `--only NAME` runs the jobs with this text in their name.
"""

import argparse
import gc
import json
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import __version__

from apo.model import runtime
from benchmarks.gpu_jobs import (
    Bench,
    Result,
    agreement,
    large_training,
    matmul,
    plain_training,
    sampling,
    sampling_by_generate,
    scoring,
    training,
)
from benchmarks.gpu_processes import ROOT, in_process, message
from benchmarks.gpu_round import SMALLER, TOLERANCE, demo_round
from benchmarks.pages import write_between

RESULTS = Path(__file__).with_name("gpu.json")
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- made by python -m benchmarks.gpu -->\n", "<!-- end of gpu -->\n"
RATE, AGREEMENT = "bf16 matmul", "rewards against the CPU"
FLEX = "RM training, pairs, FlexAttention"
ZERO3 = "RM training, pairs, ZeRO-3 with offload"
DEMO_ROUND = "a round of the demo game in float32, against the CPU"
OFFLOAD = {"APO_DEEPSPEED": str(ROOT / "configs" / "zero3_offload.json")}
DEMO_MODELS = {"base_rm": "base RM", "apo_rm_r1": "APO RM", "test_rm": "testing RM"}

JOBS: dict[str, Callable[[Bench], Result]] = {
    RATE: matmul,
    AGREEMENT: agreement,
    "RM training, pairs": partial(training, rows=512, responses=2),
    "RM training, pairs, plain loop": partial(plain_training, rows=512, responses=2),
    "APO training, golden + 4": partial(training, rows=128, responses=5),
    "APO training, golden + 4, plain loop": partial(plain_training, rows=128, responses=5),
    "scoring, 4 samples": scoring,
    "sampling": sampling,
    "sampling, generate": sampling_by_generate,
    "RM training, pairs, 7B, gradient checkpointing": large_training,
    FLEX: partial(in_process, job="flex"),
    "RM training, pairs, TRL RewardTrainer": partial(in_process, job="trl", needs="trl"),
    ZERO3: partial(in_process, job="zero3", needs="deepspeed", launched=True, environment=OFFLOAD),
    "sampling, vLLM": partial(in_process, job="vllm", needs="vllm"),
    DEMO_ROUND: demo_round,
}


def table(results: dict[str, Any]) -> str:
    """The table of the results in docs/scale.md, with a line about the jobs that were not measured."""
    jobs = results["jobs"]
    rate = jobs.get(RATE, {}).get("flops")
    lines = [
        " ".join(_introduction(results)),
        "",
        "| job | queries | seconds | tokens of texts per second | fraction of the rate | peak GiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, job in jobs.items():
        if "error" in job:
            lines.append(f"| {name} | failed: {job['error']} | | | | |")
        elif "seconds" in job:
            tokens = (job["text_tokens"] if "text_tokens" in job else job["tokens"]) / job["seconds"]
            fraction = f"{job['flop'] / job['seconds'] / rate:.2f}" if rate and "flop" in job else ""
            peak = f"{job['peak_gib']:.1f}" if "peak_gib" in job else ""
            cells = [name, job.get("queries", ""), f"{job['seconds']:.2f}", f"{tokens:,.0f}", fraction, peak]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, *(f"\n{note}" for note in _notes(jobs))])


def _introduction(results: dict[str, Any]) -> list[str]:
    """Sentences about the device, its rate, and its rewards."""
    jobs = results["jobs"]
    sentences = [
        f"{results['device']}, torch {results['torch']}, transformers {results['transformers']}, "
        f"{results['precision']}, micro-batches of {results['token_budget']:,} tokens."
    ]
    if "flops" in jobs.get(RATE, {}):
        rate = jobs[RATE]["flops"] / 1e12
        sentences.append(f"A bf16 product of two 8192 x 8192 matrices runs at {rate:.0f} TFLOP/s.")
    if "spread" in (found := jobs.get(AGREEMENT, {})):
        sentences.append(
            "The rewards of a small model differ from those of the CPU in float32 by "
            f"{found['largest_difference']:.4f} at most; their standard deviation is {found['spread']:.3f}."
        )
    return sentences


def _notes(jobs: dict[str, Result]) -> list[str]:
    """Paragraphs about what has no row of the table, and a line about the jobs that were not measured."""
    notes = []
    if "seconds" in (flex := jobs.get(FLEX, {})):
        notes.append(
            f"The rewards by FlexAttention differ from those by SDPA by {flex['largest_difference']:.4f} at "
            f"most; their standard deviation is {flex['spread']:.3f}."
        )
    if "seconds" in (zero3 := jobs.get(ZERO3, {})):
        notes.append(
            f"ZeRO-3 with offload: the seconds are those of {zero3['steps']} optimizer steps, "
            f"{zero3['seconds'] / zero3['steps']:.2f} s each. The resident memory of the process peaked at "
            f"{zero3['host_gib']:.0f} GiB."
        )
    if "accuracy" in (played := jobs.get(DEMO_ROUND, {})):
        accuracy = ", ".join(
            f"{title} {played['accuracy'][name][0]:.3f} and {played['accuracy'][name][1]:.3f}"
            for name, title in DEMO_MODELS.items()
        )
        rows = SMALLER["data"]["demo"]["comparisons"]
        notes.append(
            f"A round of the demo game with {rows:,} comparisons, in float32: {played['rewards']:,} rewards "
            f"of the stages `score` and `score_base` differ from those of the CPU, with the same reward "
            f"models and samples, by {played['largest_difference']:.1e} at most (tolerance {TOLERANCE}). "
            f"Test accuracy of the reward models trained on the GPU, and on the CPU: {accuracy}."
        )
    missing = [
        f"{name} ({jobs[name]['not_measured']})" if name in jobs else name
        for name in JOBS
        if name not in jobs or "not_measured" in jobs[name]
    ]
    return [*notes, f"Not measured: {'; '.join(missing)}."] if missing else notes


def measure(bench: Bench, job: Callable[[Bench], Result]) -> Result:
    """The measurements of a job with its `wall_seconds`, or its error; frees the memory of the device."""
    start = time.perf_counter()
    try:
        result = job(bench)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        result = {"error": message(error)}
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    return result | {"wall_seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Runs every job; the error of a failed job is recorded and the next job starts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny models, on any device")
    parser.add_argument("--only", default="", help="the jobs with this text in their name; needs --out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: no GPU; --tiny --out FILE tries the command on a CPU")
    if (arguments.tiny or arguments.only) and arguments.out == RESULTS:
        raise SystemExit("benchmarks.gpu: --tiny and --only need --out FILE: gpu.json holds whole runs")
    partial = arguments.out.with_suffix(".part")  # what there is, should the machine's time end
    start = time.perf_counter()
    bench = Bench(tiny=arguments.tiny)
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "transformers": __version__,
        "precision": runtime.precision(bench.device),
        "token_budget": runtime.token_budget(),
        "jobs": {},
    }
    for name in (name for name in JOBS if arguments.only in name):
        results["jobs"][name] = measure(bench, JOBS[name])
        results["wall_seconds"] = round(time.perf_counter() - start, 1)
        print(name, json.dumps(results["jobs"][name]), flush=True)
        partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.out)
    if arguments.out == RESULTS:
        write_between(PAGE, BEGIN, END, table(results))


if __name__ == "__main__":
    main()
