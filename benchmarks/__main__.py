"""Time and memory of this project and of other implementations, measured in one run.

`make bench`, or `python -m benchmarks [FILE] [--quick] [--only KEY ...]`: FILE has comparisons in any format
that `data.source: files` reads. Without it, texts are generated in the lengths of Helpful&Harmless. A full
run writes `results.json` and the table in README.md; with --quick or --only it only prints the table.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from apo.core.errors import UserError
from apo.model import runtime
from benchmarks.data import SIZES, TOKENIZER_TEXTS, made_up_texts, prepare, read_texts
from benchmarks.flops import needed
from benchmarks.jobs import SEED
from benchmarks.measure import Plan, measure
from benchmarks.pages import write_between
from benchmarks.report import BEGIN, END, README, RESULTS, job_results, machine_facts, table

PROGRESS = "{percentage:3.0f} %, {elapsed} gone, {remaining} left{postfix}"


def plans(*, quick: bool) -> list[Plan]:
    """The plans of all jobs; a training is one optimizer step of 64 comparisons, with `quick` a quarter."""
    divisor, repeats = (4, 1) if quick else (1, 3)
    multiples = () if quick else (2, 4)
    implementations = ("plain", "packed", "ours")
    all_plans = [
        Plan("train_pairs", "train_pairs", "5M", 64 // divisor, repeats, multiples),
        Plan("train_apo", "train_apo", "5M", 16 // divisor, repeats, multiples),
        Plan("score", "score", "5M", 32 // divisor, repeats, multiples),
        Plan("sample", "sample", "5M", 16 // divisor, repeats, multiples),
        Plan("train_pairs_30m", "train_pairs", "30M", 64 // divisor, repeats, ways=implementations),
    ]
    return all_plans if quick else [*all_plans, Plan("sample_other", "sample_other", "5M", 8, 1)]


def run(plans: list[Plan], source: Path | None) -> dict[str, Any]:
    """Prepares the data and measures; returns the results."""
    os.environ |= {"APO_DEVICE": "cpu", "APO_PRECISION": "float32"}  # as in the other implementations
    runtime.set_up()
    results: dict[str, Any] = {"machine": machine_facts(), "models": {}}
    texts = read_texts(source) if source else made_up_texts(TOKENIZER_TEXTS, seed=SEED)
    all_rates = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in dict.fromkeys(plan.size for plan in plans):
            folder = Path(temporary) / size
            facts = prepare(folder, texts, rows=256, queries=64, sizes=SIZES[size], seed=SEED)
            results["models"][size] = facts.pop("parameters")
            results["data"] = {
                "source": source.name if source else "made-up words in the lengths of HH"
            } | facts
        with tqdm(total=sum(plan.cost for plan in plans), bar_format=PROGRESS) as progress:
            for plan in plans:
                folder = Path(temporary) / plan.size
                measurements, rates = measure(plan, folder, progress)
                flops = {}
                if not plan.job.startswith("sample"):  # which operations do not limit
                    for name, last_tokens in (("fraction_all_layers", False), ("fraction", True)):
                        flops[name] = needed(folder, plan.job, plan.rows, last_tokens=last_tokens)
                results[plan.key] = job_results(plan, measurements, flops=flops, rate=median(rates))
                all_rates += rates
    results["matmul_gflops"] = median(all_rates) / 1e9
    if "train_pairs_30m" in results:
        results["matmul_fraction"] = results["train_pairs_30m"]["matmul_fraction"]
    return results


def main(source: Path | None, *, quick: bool, only: list[str]) -> None:
    """Prints the table, and writes it after a full run."""
    results = run([plan for plan in plans(quick=quick) if not only or plan.key in only], source)
    print(table(results))
    if not (quick or only):
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        write_between(README, BEGIN, END, table(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="comparisons; made up without")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows, once")
    parser.add_argument("--only", nargs="*", default=[], choices=[plan.key for plan in plans(quick=False)])
    arguments = parser.parse_args()
    try:
        main(arguments.file, quick=arguments.quick, only=arguments.only)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
