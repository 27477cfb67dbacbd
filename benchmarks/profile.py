"""CPU time of this project by kind of operation: `python -m benchmarks.profile [FILE]` prints it.

Fractions of the CPU time, after a warm-up run.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.data import SIZES, TOKENIZER_TEXTS, made_up_texts, prepare, read_texts
from benchmarks.jobs import SEED
from benchmarks.ways import WAYS

JOBS = {"train_pairs": 64, "train_apo": 16, "score": 32}
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::matmul"),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu",),
    "elementwise": tuple(
        f"aten::{name}" for name in ("mul", "add", "silu", "neg", "div", "pow", "rsqrt", "sub")
    ),
}


def shares(folder: Path, job: str) -> dict[str, float]:
    """The fraction of CPU time of each kind in one run of a job; `rest` is all other operations."""
    prepare_run = WAYS[job]["ours"].load()
    prepare_run(folder, job, JOBS[job])()
    run = prepare_run(folder, job, JOBS[job])
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key.startswith(names)), "rest")
        times[kind] += event.self_cpu_time_total
    return {kind: times[kind] / times.total() for kind in (*KINDS, "rest")}


def main(source: Path | None) -> None:
    """Prints a table."""
    texts = read_texts(source) if source else made_up_texts(TOKENIZER_TEXTS, seed=SEED)
    print(f"| job | {' | '.join((*KINDS, 'rest'))} |")
    print("|---" * (len(KINDS) + 2) + "|")
    with tempfile.TemporaryDirectory() as temporary:
        for size in ("5M", "30M"):
            folder = Path(temporary) / size
            prepare(folder, texts, rows=64, queries=16, sizes=SIZES[size], seed=SEED)
            for job in JOBS if size == "5M" else ("train_pairs",):
                cells = " | ".join(f"{share:.0%}" for share in shares(folder, job).values())
                print(f"| {job}, {size} | {cells} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
