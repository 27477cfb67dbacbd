"""Trackers that remember what they are given, and a short training."""

from typing import Any

import torch
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from apo.training.checkpointing import Checkpoints
from apo.training.trainer import training_loop
from tests.helpers import tiny_models as tiny
from tests.helpers.linear_model import line, squares

SAID: list[tuple[Any, ...]] = []


class Fake(GeneralTracker):
    """Remembers what it is told, and draws random numbers as it likes."""

    name = "fake"
    requires_logging_directory = True

    def __init__(self, run: str, folder: str) -> None:
        super().__init__()
        self.run, self.folder = run, folder

    @property
    def tracker(self) -> None:
        return None

    @tracking.on_main_process
    def start(self) -> None:
        tracking.logger.debug("accelerate's logger works")
        SAID.append(("start", self.run, self.folder))

    @tracking.on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        SAID.append(("settings", values))

    @tracking.on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        torch.manual_seed(7)
        SAID.append(("log", step, values))

    @tracking.on_main_process
    def finish(self) -> None:
        SAID.append(("finish",))


class Broken(Fake):
    """Loses its network at step 2."""

    name = "broken"

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        if step == 2:
            raise ConnectionError("no\nroute")
        super().log(values, step)


def train(key: str = "0123456789", *, loss_of: Any = None) -> list[dict[str, float]]:
    """Four steps of 8 rows of 3 tokens, with a look after the last one."""
    checkpoints = Checkpoints("rm-r1", key)
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    model = line()
    return training_loop(
        model,
        tiny.optimizer(),
        batches=[list(range(8))] * 4,
        lengths=[3] * 8,
        loss_of=loss_of or squares(model),
        desc="rm of r1",
        checkpoints=checkpoints,
        eval_fn=lambda step: {"accuracy": 0.5},
        eval_steps=4,
    )


def steps() -> list[int]:
    return [call[1] for call in SAID if call[0] == "log"]
