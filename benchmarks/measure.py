"""Interleaved repeats: every way is timed once before any is timed again."""

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
    """A `benchmarks.worker` that waits for numbers of rows."""

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
        """Waits for the imports; MB that the process then holds."""
        return float(self._answer()["imported_mb"])

    def run(self, rows: int) -> dict[str, Any]:
        """One timed run; see `benchmarks.worker`."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(f"{rows}\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise UserError(
                self.name,
                found=" / ".join(self._errors.read().split("\n")[-4:]).strip(" /")[-300:],
                expected="a way that runs",
                do="look at the process alone: python -m benchmarks.worker JOB WAY FOLDER",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)  # closes the input and waits for the end
        self._errors.close()


@dataclass
class Measured:
    """What one way took.

    Attributes:
        seconds: By multiple of the rows; those of 1 repeated.
        values: What the runs on the rows gave.
        peak_mb: Most memory of the process, the runs on more rows left out.
        imported_mb: Memory after the imports.
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
    """What is measured of one job.

    Attributes:
        key: In the results.
        size: The model, a key of `benchmarks.data.SIZES`.
        rows: Comparisons, queries of golden > samples, queries that are scored or answered.
        repeats: Timed runs of every way.
        multiples: Of the rows, on each of which every way that `grows` runs once more.
        ways: Names of ways, none for all.
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
        """Its ways by name."""
        return {name: way for name, way in WAYS[self.job].items() if name in self.ways or not self.ways}

    @property
    def cost(self) -> float:
        """What `measure` moves the progress by."""
        return sum(
            self.cost_of(name) * (self.repeats + sum(self.multiples) * way.grows)
            for name, way in self.chosen.items()
        )

    def cost_of(self, name: str) -> float:
        """A guess of the time of one run, in any unit."""
        heavier = SIZES[self.size]["num_hidden_layers"] * SIZES[self.size]["hidden_size"] ** 2
        return heavier * self.rows * WAYS[self.job][name].cost


def measure(plan: Plan, folder: Path, progress: Any) -> tuple[dict[str, Measured], list[float]]:
    """Times ways of a job, first the repeats on the rows in turn, then each once on the multiples.

    Args:
        folder: Written by `benchmarks.data.prepare`.
        progress: Moved by the cost of the plan.

    Returns:
        What each way took, and rates of a large matrix multiplication, one after each round of repeats.

    Raises:
        UserError: A way fails, or two ways give different losses or rewards.
    """
    rates, job = [], plan.job
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Process(job, name, folder)) for name in plan.chosen}
        matmul = stack.enter_context(Process("matmul", "matmul", folder))
        found = {name: Measured(process.started()) for name, process in processes.items()}
        matmul.started()
        values = {name: process.run(0)["value"] for name, process in processes.items()}
        if not job.startswith("sample"):
            check(job, values)

        def run(name: str, multiple: int) -> dict[str, Any]:
            rows = plan.rows * multiple
            progress.set_postfix_str(f"{plan.key}: {name}, {rows} rows", refresh=True)
            answer = processes[name].run(rows)
            found[name].seconds.setdefault(multiple, []).append(answer["seconds"])
            progress.update(plan.cost_of(name) * multiple)
            return answer

        for _ in range(plan.repeats):
            for name in plan.chosen:
                answer = run(name, 1)
                found[name].values.append(answer["value"])
                found[name].peak_mb = answer["peak_mb"]
            rates.append(matmul.run(REPEATS_OF_MATMUL)["value"])
        for multiple in plan.multiples:
            for name, way in plan.chosen.items():
                if way.grows:
                    run(name, multiple)
    return found, rates


def check(job: str, values: dict[str, Any]) -> None:
    """All ways give the same loss or the same rewards on untouched weights.

    Raises:
        UserError: Two differ by more than `TOLERANCE`.
    """
    reference = _listed(values["ours"])
    for name, value in values.items():
        difference = max(abs(a - b) for a, b in zip(_listed(value), reference, strict=True))
        if not difference <= TOLERANCE:
            raise UserError(
                f"{job}, {name}",
                found=f"a loss or reward that differs by {difference:.2g} from this project's",
                expected=f"at most {TOLERANCE}: they compute the same",
                do="mend the way before its time is believed",
            )


def _listed(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]
