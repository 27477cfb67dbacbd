"""The curves of all models as one table for each plot: what `dvc plots` draws."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from apo.measuring.intervals import wilson_interval
from apo.measuring.rounds import START
from apo.records import Row
from apo.tables import read_csv

POINTS = 100  # of a training curve, at most
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
"""The tables, with the columns that stand there even if no model has a row."""


def models_of(rounds: Sequence[str]) -> list[str]:
    """The models of a game in the order in which they are shown.

    >>> models_of(["r1"])
    ['backbone', 'actor', 'base_rm', 'test_rm', 'apo_rm_r1', 'llm_base_r1', 'llm_apo_r1']
    """
    own = [f"{kind}_{round}" for round in rounds for kind in ("apo_rm", "llm_base", "llm_apo")]
    return ["backbone", "actor", "base_rm", "test_rm", *own]


def join(folder: Path, rounds: Sequence[str]) -> dict[str, list[Row]]:
    """The tables of COLUMNS, of what `apo.plots.gathering` gathered.

    Args:
        folder: `MODEL/TABLE.csv`; a model without a table, such as a checkpoint that was not trained, has no
            rows in it.
        rounds: The ids of the rounds, in order.
    """
    names = models_of(rounds)

    def of_all(file: str, rows: Callable[[Table], Iterable[Row]], models: Sequence[str] = names) -> list[Row]:
        found = [(name, folder / name / f"{file}.csv") for name in models]
        return [
            {"model": name, **row} for name, path in found if path.is_file() for row in rows(read_csv(path))
        ]

    judges = [name for name in names if "rm" in name.split("_")]
    order = [START, *rounds]
    played = of_all("rounds", by_measure)
    return {
        "rm_training": of_all("training", thinned, judges),
        "llm_training": of_all("training", thinned, [name for name in names if name not in judges]),
        "reliability": [
            *of_all("reliability", lambda rows: reliability(rows, kind="as trained")),
            *of_all("reliability_calibrated", lambda rows: reliability(rows, kind="at its temperature")),
        ],
        **{
            name: of_all(name, lambda rows: rows)
            for name in ("rewards", "margins", "golden_samples", "truth")
        },
        "rounds": sorted(played, key=lambda row: order.index(row["round"])),
    }


def thinned(rows: Table) -> list[Row]:
    """A training curve in at most POINTS windows of equally many steps, give or take one.

    Returns:
        `step`, the last of the window; `loss` and, where there is one, `accuracy`, means over its steps.
    """
    rows = [row for row in rows if row.get("loss")]  # of a checkpoint that was not trained there is none
    number = min(POINTS, len(rows))
    cuts = [index * len(rows) // number for index in range(number + 1)] if number else []
    found = []
    for start, end in pairwise(cuts):
        window = rows[start:end]
        row: Row = {"step": int(window[-1]["step"]), "loss": fmean(float(one["loss"]) for one in window)}
        right = [float(one["accuracy"]) for one in window if one.get("accuracy")]
        found.append(row | ({"accuracy": fmean(right)} if right else {}))
    return found


def by_measure(rows: Table) -> list[Row]:
    """The table of `apo.measuring.rounds` with a row for each measure; the true reward where it is known."""
    found = []
    for measure, value, short in (
        ("score by testing RM", "score", "score"),
        ("true reward", "true_reward", "true"),
    ):
        for row in rows:
            if row.get(value):
                place = {key: row[key] for key in ("round", "arm", "llm")}
                bounds = {"low": row[f"{short}_low"], "high": row[f"{short}_high"]}
                found.append({**place, "measure": measure, "value": row[value], **bounds})
    return found


def reliability(rows: Table, *, kind: str) -> list[Row]:
    """The bins of a reliability curve on test that have pairs, with the 95 % Wilson interval of each."""
    found = []
    for row in rows:
        count = int(row["count"])
        if row["split"] == "test" and count:
            probability, frequency = float(row["probability"]), float(row["frequency"])
            low, high = wilson_interval(min(count, frequency * count), count)
            bounds = {"low": low, "high": high, "count": count}
            found.append({"kind": kind, "probability": probability, "frequency": frequency, **bounds})
    return found
