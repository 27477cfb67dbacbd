"""One implementation of one job in a separate process, whose peak memory is measured.

Reads a number of rows from each line of stdin and replies with JSON: `seconds`, `value` (loss, rewards,
tokens or rate) and `peak_mb` so far. The first reply, before any line, has the memory after the imports.
"""

import json
import os
import re
import resource
import sys
import time
from pathlib import Path

import torch

from benchmarks.ways import WAYS


def peak_mb() -> float:
    """Peak memory of this process, in MB.

    On Linux it is read from /proc, because `ru_maxrss` includes the memory of the parent at the start.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    [peak] = re.findall(r"VmHWM:\s+(\d+)", status.read_text(encoding="ascii"))
    return int(peak) / 1024


def main(job: str, way: str, folder: str) -> None:
    """Runs until stdin ends; the output of libraries goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ.get("APO_THREADS", "2")))
    prepare = WAYS[job][way].load()
    print(json.dumps({"imported_mb": peak_mb()}), file=replies)
    for line in sys.stdin:
        run = prepare(Path(folder), job, int(line))
        start = time.perf_counter()
        value = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "value": value, "peak_mb": peak_mb()}), file=replies)
        del run  # before the next model is loaded


if __name__ == "__main__":
    main(*sys.argv[1:])
