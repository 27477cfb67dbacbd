"""Interleaved measurements: every implementation is timed once before any is timed again."""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from apo.core.errors import UserError
from benchmarks.data import SIZES
from benchmarks.ways import WAYS, Way

TOLERANCE = 1e-4
REPEATS_OF_MATMUL = 3


class Process:
    """A `benchmarks.worker` process that waits for numbers of rows."""

    def __init__(self, job: str, way: str, folder: Path) -> None:
        self.name = f"{job}, {way}"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", job, way, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )

    def started(self) -> float:
        """Waits for the imports; returns the peak memory of the process in MB."""
        return float(self._read_reply()["imported_mb"])

    def run(self, rows: int) -> dict[str, Any]:
        """One timed run; see `benchmarks.worker`."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the reply raises the error of the process
            self._process.stdin.write(f"{rows}\n")
        return self._read_reply()

    def _read_reply(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise UserError(
                self.name,
                found=" / ".join(self._errors.read().split("\n")[-4:]).strip(" /")[-300:],
                expected="an implementation that runs",
                do="look at the process alone: python -m benchmarks.worker JOB WAY FOLDER",
            )
        reply: dict[str, Any] = json.loads(line)
        return reply

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)  # closes stdin and waits for the end
        self._errors.close()


@dataclass
class Measured:
    """The measurements of one implementation.

    Attributes:
        imported_mb: Memory after the imports, in MB.
        seconds: Seconds of the runs by multiple of the rows; several for 1.
        values: The results of the runs on the rows.
        peak_mb: Peak memory of the process in MB, without the runs on multiples of the rows.
    """

    imported_mb: float
    seconds: dict[int, list[float]] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)
    peak_mb: float = 0.0

    def median(self, multiple: int = 1) -> float:
        """Median seconds."""
        return median(self.seconds[multiple])


@dataclass(frozen=True)
class Plan:
    """The plan of the measurements of one job.

    Attributes:
        key: Its key in the results.
        job: The job, a key of `WAYS`.
        size: The model, a key of `benchmarks.data.SIZES`.
        rows: Number of comparisons, queries with golden > samples, queries to score, or prompts.
        repeats: Timed runs of every implementation.
        multiples: Multiples of the rows, on each of which every implementation that `grows` runs once.
        ways: Names of implementations; empty for all.
    """

    key: str
    job: str
    size: str
    rows: int
    repeats: int
    multiples: tuple[int, ...] = ()
    ways: tuple[str, ...] = ()

    @property
    def chosen(self) -> dict[str, Way]:
        """Its implementations by name."""
        return {name: way for name, way in WAYS[self.job].items() if name in self.ways or not self.ways}

    @property
    def cost(self) -> float:
        """The total progress of `measure`."""
        return sum(
            self.cost_of(name) * (self.repeats + sum(self.multiples) * way.grows)
            for name, way in self.chosen.items()
        )

    def cost_of(self, name: str) -> float:
        """The estimated time of one run, in any unit."""
        model_cost = SIZES[self.size]["num_hidden_layers"] * SIZES[self.size]["hidden_size"] ** 2
        return model_cost * self.rows * WAYS[self.job][name].cost


def measure(plan: Plan, folder: Path, progress: Any) -> tuple[dict[str, Measured], list[float]]:
    """Times the implementations of a job: first repeated on the rows in turn, then once on each multiple.

    Args:
        plan: The plan of the job.
        folder: Written by `benchmarks.data.prepare`.
        progress: Advanced by the cost of the plan.

    Returns:
        The measurements of each implementation, and the rates of a large matrix multiplication, one for each
        round of repeats.

    Raises:
        UserError: An implementation fails, or two of them give different losses or rewards.
    """
    rates, job = [], plan.job
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Process(job, name, folder)) for name in plan.chosen}
        matmul = stack.enter_context(Process("matmul", "matmul", folder))
        measurements = {name: Measured(process.started()) for name, process in processes.items()}
        matmul.started()
        values = {name: process.run(0)["value"] for name, process in processes.items()}
        if not job.startswith("sample"):
            check(job, values)

        def run(name: str, multiple: int) -> dict[str, Any]:
            rows = plan.rows * multiple
            progress.set_postfix_str(f"{plan.key}: {name}, {rows} rows", refresh=True)
            reply = processes[name].run(rows)
            measurements[name].seconds.setdefault(multiple, []).append(reply["seconds"])
            progress.update(plan.cost_of(name) * multiple)
            return reply

        for _ in range(plan.repeats):
            for name in plan.chosen:
                reply = run(name, 1)
                measurements[name].values.append(reply["value"])
                measurements[name].peak_mb = reply["peak_mb"]
            rates.append(matmul.run(REPEATS_OF_MATMUL)["value"])
        for multiple in plan.multiples:
            for name, way in plan.chosen.items():
                if way.grows:
                    run(name, multiple)
    return measurements, rates


def check(job: str, values: dict[str, Any]) -> None:
    """Checks that all implementations give the same loss or the same rewards before training.

    Raises:
        UserError: Two differ by more than `TOLERANCE`.
    """
    reference = _as_list(values["ours"])
    for name, value in values.items():
        difference = max(abs(a - b) for a, b in zip(_as_list(value), reference, strict=True))
        if not difference <= TOLERANCE:
            raise UserError(
                f"{job}, {name}",
                found=f"a loss or reward that differs by {difference:.2g} from this project's",
                expected=f"at most {TOLERANCE}: they compute the same",
                do="mend the way before its time is believed",
            )


def _as_list(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]
