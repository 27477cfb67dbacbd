"""The tables of `dvc plots`: the curves of all models, one table per plot."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from apo.core.records import Row, decoded
from apo.metrics.statistics import wilson_interval

MAX_POINTS = 100  # of a training curve
CALIBRATED = "at its temperature"
START = "r0"
Table = list[dict[str, str]]
COLUMNS: Mapping[str, Sequence[str]] = {
    "rm_training": ("model", "step", "loss", "accuracy"),
    "llm_training": ("model", "step", "loss"),
    "reliability": ("model", "kind", "probability", "frequency", "low", "high", "count"),
    "rewards": ("model", "kind", "reward", "count", "share"),
    "margins": ("model", "margin", "pairs", "accuracy", "low", "high", "probability"),
    "golden_samples": ("model", "kind", "reward", "count", "share"),
    "truth": ("model", "reward", "true_reward", "low", "high", "count"),
    "rounds": ("round", "arm", "llm", "measure", "value", "low", "high"),
}
"""The tables, with the columns that are written even if no model has a row."""


def read_curves(folders: Mapping[str, Path]) -> dict[str, Table]:
    """The rows of all CSV files below some folders, by name: `r1/train_apo_rm/training`."""
    return {
        f"{name}/{path.relative_to(folder).with_suffix('').as_posix()}": _read_csv(path)
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*.csv"))
    }


def read_tables(folder: Path) -> dict[str, Table]:
    """The tables of a round, {} for round zero."""
    return {path.stem: _read_csv(path) for path in sorted(folder.glob("*.csv"))}


def _read_csv(path: Path) -> Table:
    return list(csv.DictReader(decoded(path.read_bytes(), where=str(path)).splitlines()))


def _table(
    curves: Mapping[str, Table],
    previous_tables: Mapping[str, Table],
    name: str,
    initial: Mapping[str, str],
    current: Mapping[str, str],
    *files: tuple[str, Callable[[Table], Iterable[Row]]],
) -> list[Row]:
    """Rows of models of round zero (`initial`) and of this round (`current`), given their curves."""

    def rows_of(paths: Mapping[str, str]) -> list[Row]:
        return [
            {"model": model, **row}
            for file, rows in files
            for model, path in paths.items()
            for row in rows(curves.get(path + file, []))
        ]

    previous = [dict(row) for row in previous_tables.get(name, []) if row["model"] not in initial]
    return [*rows_of(initial), *previous, *rows_of(current)]


def join(
    curves: Mapping[str, Table], round: str, *, rounds: Sequence[str], before: Mapping[str, Table]
) -> dict[str, list[Row]]:
    """The tables of `COLUMNS`: models of round zero, then of the earlier rounds, then of this round.

    Args:
        curves: Rows of the curve files of round zero and of this round, see `read_curves`. A model without
            a curve, such as a checkpoint that was not trained, has no rows.
        rounds: The ids of all rounds, in order. Rows of other rounds, of an earlier game, are left out.
        before: The tables of the round before.
    """
    apo_rm = f"apo_rm_{round}"

    table = partial(_table, curves, before)
    training = {"base_rm": "r0/train_base_rm", "test_rm": "r0/test_rm"}, {apo_rm: f"{round}/train_apo_rm"}
    evaluation = (
        {"base_rm": "r0/evaluate_base_rm", "test_rm": "r0/evaluate_test_rm"},
        {apo_rm: f"{round}/evaluate_apo_rm"},
    )
    rating = (
        {"base_rm": f"{round}/payoff/base_rm", "test_rm": f"{round}/evaluate"},
        {apo_rm: f"{round}/payoff/apo_rm"},
    )
    llms = (
        {"backbone": "r0/backbone", "actor": "r0/actor"},
        {f"llm_{arm}_{round}": f"{round}/align_{arm}" for arm in ("base", "apo")},
    )
    order = [START, *rounds]
    played = [row for row in curves.get(f"{round}/evaluate/rounds", []) if row["round"] in order]
    return {
        "rm_training": table("rm_training", *training, ("/training", downsample)),
        "llm_training": table("llm_training", *llms, ("", downsample)),
        "reliability": table(
            "reliability",
            *evaluation,
            ("/reliability", lambda rows: reliability(rows, kind="as trained")),
            ("/reliability_calibrated", lambda rows: reliability(rows, kind=CALIBRATED)),
        ),
        "rewards": table("rewards", *evaluation, ("/rewards", iter)),
        "margins": table("margins", *evaluation, ("/margins", iter)),
        "golden_samples": table("golden_samples", *rating, ("/golden_samples", iter)),
        "truth": table("truth", *rating, ("/truth", iter)),
        "rounds": sorted(by_measure(played), key=lambda row: order.index(row["round"])),
    }


def downsample(rows: Table, *, max_points: int = MAX_POINTS) -> list[Row]:
    """A training curve in at most `max_points` windows, whose sizes differ by at most one step.

    Returns:
        `step`, the last one of the window, and the means of `loss` and, if there is any, `accuracy`.
    """
    rows = [row for row in rows if row.get("loss")]  # a checkpoint that was not trained has no loss
    num_windows = min(max_points, len(rows))
    boundaries = [index * len(rows) // num_windows for index in range(num_windows + 1)] if num_windows else []
    points: list[Row] = []
    for start, end in pairwise(boundaries):
        window = rows[start:end]
        loss = fmean(float(row["loss"]) for row in window)
        accuracies = [float(row["accuracy"]) for row in window if row.get("accuracy")]
        accuracy = {"accuracy": fmean(accuracies)} if accuracies else {}
        points.append({"step": int(window[-1]["step"]), "loss": loss, **accuracy})
    return points


def by_measure(rows: Table) -> list[Row]:
    """The table of `round_curves` with a row for each measure: the score, and the true reward if known."""
    records = []
    for measure, value, prefix in (
        ("score by testing RM", "score", "score"),
        ("true reward", "true_reward", "true"),
    ):
        for row in rows:
            if row.get(value):
                keys = {key: row[key] for key in ("round", "arm", "llm")}
                bounds = {"low": row[f"{prefix}_low"], "high": row[f"{prefix}_high"]}
                records.append({**keys, "measure": measure, "value": row[value], **bounds})
    return records


def reliability(rows: Table, *, kind: str) -> list[Row]:
    """The bins of a reliability curve on test that have pairs, with the 95 % Wilson interval of each."""
    records = []
    for row in rows:
        count = int(row["count"])
        if row["split"] == "test" and count:
            probability, frequency = float(row["probability"]), float(row["frequency"])
            low, high = wilson_interval(min(count, frequency * count), count)
            bounds = {"low": low, "high": high, "count": count}
            records.append({"kind": kind, "probability": probability, "frequency": frequency, **bounds})
    return records
