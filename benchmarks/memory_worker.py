"""One training step of `python -m benchmarks.memory`, in this process or in the processes of a launcher.

Writes the peak memory of each process beyond its imports: resident memory, and its private part. The other
part are pages of the checkpoint file, which processes share and the system can reclaim.
"""

import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from apo.core import distributed
from apo.model import runtime
from apo.model.checkpoint import start_reward_model
from apo.model.encoding import ResponseSet
from apo.model.settings import Model
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters
from apo.training.settings import Lora
from benchmarks.data import READING
from benchmarks.jobs import SEED, Training
from benchmarks.ours import optimizer_steps

NAME = "memory"
STEPS, COMPARISONS = 1, 64
QUERY, RESPONSE = 6, 1  # tokens


class PeakMemory:
    """The peak memory since its creation, sampled every few milliseconds.

    Attributes:
        peak: Bytes above the memory at the creation, by kind.
    """

    def __init__(self) -> None:
        self._baseline = _memory()
        self.peak = dict.fromkeys(self._baseline, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(0.004):
            for kind, value in _memory().items():
                self.peak[kind] = max(self.peak[kind], value - self._baseline[kind])


def _memory() -> dict[str, int]:
    """Resident and private memory of this process in bytes, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kinds = {"resident": "VmRSS", "private": "RssAnon"}
    return {kind: 1024 * int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for kind, name in kinds.items()}


def items() -> list[ResponseSet]:
    """Comparisons that all have the same number of tokens."""
    ids = [(7 * position) % 200 + 10 for position in range(QUERY + 2 * RESPONSE)]
    responses = [ids[QUERY : QUERY + RESPONSE], ids[QUERY + RESPONSE :]]
    return [ResponseSet(ids[:QUERY], responses) for _ in range(STEPS * COMPARISONS)]


def train(folder: Path, key: str, rank: int) -> dict[str, int]:
    """Trains and saves a checkpoint; returns the peak memory in bytes."""
    runtime.set_up()
    lora: Any = Lora(rank=rank, alpha=16.0, targets=[])
    import peft  # noqa: F401, before the baseline is measured

    if os.environ.get("APO_DEEPSPEED"):
        import deepspeed  # noqa: F401

    training = Training(items(), is_apo=False)
    with PeakMemory() as memory:
        model = start_reward_model(folder / "backbone", Model(**READING), seed=SEED)
        add_adapters(model.classifier, lora, seed=SEED, where="lora")
        with Checkpoints(NAME, key).lock() as checkpoints:
            optimizer_steps(model, training, desc=NAME, checkpoints=checkpoints)
    return memory.peak


if __name__ == "__main__":
    folder, key = Path(sys.argv[1]), sys.argv[2]
    distributed.start()
    peak = train(folder, key, int(sys.argv[3]))
    (folder / f"{key}-{distributed.rank()}.json").write_text(json.dumps(peak), encoding="utf-8")
    distributed.end()
