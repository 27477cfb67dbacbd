"""One step of training of `python -m benchmarks.memory` in this process, or in the processes of a launcher.

Writes for each process the most memory that it took beyond its imports: all that was resident, and the
private part of it. The rest are pages of the checkpoint's file, which processes share and the system can take
back.
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
from apo.reward.train import RankedResponses, train_reward_model
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters
from apo.training.settings import Lora
from benchmarks.data import READING
from benchmarks.jobs import SEED, Training

NAME = "memory"
STEPS, COMPARISONS = 1, 64
QUERY, RESPONSE = 6, 1  # tokens


class Watch:
    """The most memory since it was made, looked at every few milliseconds."""

    def __init__(self) -> None:
        self._before = _held()
        self.most = dict.fromkeys(self._before, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.004):
            for kind, value in _held().items():
                self.most[kind] = max(self.most[kind], value - self._before[kind])


def _held() -> dict[str, int]:
    """Bytes of this process, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kinds = {"resident": "VmRSS", "private": "RssAnon"}
    return {kind: 1024 * int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for kind, name in kinds.items()}


def items() -> list[ResponseSet]:
    """Comparisons that all have the same number of tokens."""
    ids = [(7 * place) % 200 + 10 for place in range(QUERY + 2 * RESPONSE)]
    responses = [ids[QUERY : QUERY + RESPONSE], ids[QUERY + RESPONSE :]]
    return [ResponseSet(ids[:QUERY], responses) for _ in range(STEPS * COMPARISONS)]


def train(folder: Path, key: str, rank: int) -> dict[str, int]:
    """Trains and saves a state; the bytes that it took."""
    runtime.set_up()
    lora: Any = Lora(rank=rank, alpha=16.0, targets=[])
    import peft  # noqa: F401, before anything is counted

    if os.environ.get("APO_DEEPSPEED"):
        import deepspeed  # noqa: F401

    training = Training(items(), is_apo=False)
    with Watch() as watch:
        model = start_reward_model(folder / "backbone", Model(**READING), seed=SEED)
        add_adapters(model.classifier, lora, seed=SEED, where="lora")
        with Checkpoints(NAME, key).exclusive() as checkpoints:
            train_reward_model(
                model,
                [RankedResponses(item, [1.0, 0.0]) for item in training.items],
                training.settings,
                seed=SEED,
                desc=NAME,
                checkpoints=checkpoints,
            )
    return watch.most


if __name__ == "__main__":
    where, name = Path(sys.argv[1]), sys.argv[2]
    distributed.start()
    found = train(where, name, int(sys.argv[3]))
    (where / f"{name}-{distributed.rank()}.json").write_text(json.dumps(found), encoding="utf-8")
    distributed.end()
