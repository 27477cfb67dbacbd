"""The curves of all models as one table for each plot: what `dvc plots` draws."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from apo.core.records import Row
from apo.evaluation.round_curves import START
from apo.metrics.statistics import wilson_interval

POINTS = 100  # of a training curve, at most
CALIBRATED = "at its temperature"
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


def trainings_of(rounds: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The LLMs and the RMs of a game in the order in which they are shown, with the names of their curves.

    >>> trainings_of(["r1"])[1]["apo_rm_r1"]
    'r1/train_apo_rm/training'
    """
    llms = {"backbone": "backbone", "actor": "actor"}
    llms |= {f"llm_{arm}_{round}": f"{round}/align_{arm}" for round in rounds for arm in ("base", "apo")}
    rms = {"base_rm": "train_base_rm/training", "test_rm": "test_rm/training"}
    return llms, rms | {f"apo_rm_{round}": f"{round}/train_apo_rm/training" for round in rounds}


def join(curves: Mapping[str, Table], rounds: Sequence[str]) -> dict[str, list[Row]]:
    """The tables of COLUMNS.

    Args:
        curves: Rows of the curve files of a run by name, such as `r1/train_apo_rm/training`. A model without
            one, such as a checkpoint that was not trained, has no rows in it.
        rounds: The ids of the rounds, in order.
    """
    llms, rms = trainings_of(rounds)
    folders = {name: path.removesuffix("/training") for name, path in rms.items()}
    judging = {"base_rm": "payoff_base", "test_rm": f"{rounds[-1]}/evaluate"}
    judging |= {f"apo_rm_{round}": f"{round}/payoff" for round in rounds}

    def of_all(paths: Mapping[str, str], table: str, rows: Callable[[Table], Iterable[Row]]) -> list[Row]:
        found = [(name, curves.get(f"{path}{table}", [])) for name, path in paths.items()]
        return [{"model": name, **row} for name, own in found for row in rows(own)]

    order = [START, *rounds]
    played = by_measure(curves.get(f"{rounds[-1]}/evaluate/rounds", []))
    return {
        "rm_training": of_all(rms, "", thinned),
        "llm_training": of_all(llms, "", thinned),
        "reliability": [
            *of_all(folders, "/reliability", lambda rows: reliability(rows, kind="as trained")),
            *of_all(folders, "/reliability_calibrated", lambda rows: reliability(rows, kind=CALIBRATED)),
        ],
        "rewards": of_all(folders, "/rewards", iter),
        "margins": of_all(folders, "/margins", iter),
        "golden_samples": of_all(judging, "/golden_samples", iter),
        "truth": of_all(judging, "/truth", iter),
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
    """The table of `round_curves` with a row for each measure; the true reward where it is known."""
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
