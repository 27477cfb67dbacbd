"""One way of doing one job in a process of its own, so that its peak memory is its own.

Reads a number of rows from each line of the input and answers with JSON: `seconds`, `value` (loss, rewards,
tokens or rate), `peak_mb` so far. The first answer, before any line, holds the memory after the imports.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import torch

from benchmarks.ways import WAYS


def peak_mb() -> float:
    """Most memory that this process ever held, in MB.

    From Linux's own count: `ru_maxrss` begins with what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (x for x in status.read_text(encoding="ascii").splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main(job: str, way: str, folder: str) -> None:
    """Runs until the input ends; what libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ.get("APO_THREADS", "2")))
    prepare = WAYS[job][way].load()
    print(json.dumps({"imported_mb": peak_mb()}), file=answers)
    for line in sys.stdin:
        run = prepare(Path(folder), job, int(line))
        began = time.perf_counter()
        value = run()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "value": value, "peak_mb": peak_mb()}), file=answers)
        del run  # before the next model is loaded


if __name__ == "__main__":
    main(*sys.argv[1:])
