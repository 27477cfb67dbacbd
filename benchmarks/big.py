"""Time and memory of the stages that read rows, for increasing numbers of rows: `make big`.

`python -m benchmarks.big ROWS ... [--only STAGE ...]` generates ROWS comparisons and ROWS queries with four
samples (`benchmarks.many`) and runs data, split, convert, score and rjs on them, each in a separate process.
The costs for the sizes of the table are written to `big.json`, and the table to README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.pages import write_between

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- made by make big -->\n", "<!-- end of make big -->\n"
RESULTS = Path(__file__).with_name("big.json")
SIZES = (10_000, 100_000, 1_000_000)
STAGES: dict[str, dict[str, str]] = {  # paths in the folder, by option of the stage
    "data": {"input": "input", "out": "raw"},
    "split": {
        **{name: f"raw/{name}.jsonl" for name in ("comparisons", "golden", "demonstrations", "documents")},
        "out": "split",
    },
    "convert": {"golden": "raw/golden.jsonl", "samples": "samples.jsonl", "out": "apo/r1.jsonl"},
    "score": {
        "model": "rm",
        "evaluation": "evaluation.json",
        "samples": "samples.jsonl",
        "out": "scored/r1.jsonl",
    },
    "rjs": {"samples": "samples.jsonl", "scores": "scores.jsonl", "out": "rjs/r1.jsonl"},
}
OPTIONS = {"convert": {"round": "r1"}, "score": {"name": "big"}, "rjs": {"name": "big"}}

Cost = tuple[float, float]  # CPU seconds, which do not depend on other processes, and peak memory in MB


def main(sizes: Iterable[int], stages: Iterable[str]) -> None:
    """Measures and prints the costs; those of `SIZES` are written too."""
    all_costs: dict[int, dict[str, Cost]] = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            run("benchmarks.many", folder, str(rows))
            for stage in stages:
                cost = run(f"stages.{stage}", *arguments(stage, Path(folder)))
                all_costs.setdefault(rows, {})[stage] = cost
                print(f"{rows} rows, {stage}: {cost[0]:.1f} s, {cost[1]:.0f} MB", flush=True)
                if rows in SIZES:
                    record(rows, stage, cost)
    print(table(all_costs))


def record(size: int, stage: str, cost: Cost) -> None:
    """Writes the cost to the results, and the table of all results to the README."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results.setdefault(str(size), {})[stage] = [round(cost[0], 1), round(cost[1])]
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    costs = {size: results[str(size)] for size in SIZES if str(size) in results}
    write_between(README, BEGIN, END, table(costs))


def arguments(stage: str, folder: Path) -> list[str]:
    """The arguments of a stage, as in dvc.yaml, for files in a folder."""
    paths = {name: str(folder / path) for name, path in STAGES[stage].items()}
    paths |= {"metrics": str(folder / f"{stage}.json"), "params": str(folder / "params.yaml")}
    options = OPTIONS.get(stage, {}) | paths
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def run(module: str, *arguments: str) -> Cost:
    """Runs a module in a separate process; its peak memory is at least that of this small process."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=Path(__file__).parents[1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: {module} ended with {process.returncode}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return usage.ru_utime + usage.ru_stime, peak


def table(results: Mapping[int, Mapping[str, Sequence[float]]]) -> str:
    """The table of seconds and memory of each stage by number of rows."""
    header = "".join(f" {size:,} rows |" for size in results)
    lines = [f"| stage |{header}", f"|---|{'---|' * len(results)}"]
    for stage in STAGES:
        cells = (
            f" {costs[stage][0]:,.1f} s, {costs[stage][1]:,.0f} MB |" if stage in costs else " |"
            for costs in results.values()
        )
        lines.append(f"| {stage} |{''.join(cells)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--only", nargs="+", default=list(STAGES), choices=STAGES, help="in their order")
    options = parser.parse_args()
    main(options.rows, options.only)
