"""Estimates the hours of the sets that were not played, from the seconds of the games that were."""

from collections.abc import Sequence
from statistics import fmean

from study.markdown import table
from study.paired import Row
from study.settings import Settings, games
from study.transfer import transfer_jobs

ALIGNMENTS = 7
"""The cost of a further game of two rounds in alignments: four of them, and the stages of round two."""


def seconds_of(rows: Sequence[Row], kind: str, name: str) -> float:
    """The mean seconds of the kept games of a name; 0 if there are none."""
    seconds = [row["seconds"] for row in rows if (row["kind"], row["name"]) == (kind, name)]
    return fmean(seconds) if seconds else 0.0


def hours(rows: Sequence[Row], settings: Settings) -> dict[str, tuple[int, float]]:
    """By set, the number of its games or alignments and the hours of one core for all of them.

    The first game of a seed costs as much as one of RJS or of the confirmation, a further one as much as the
    games after these. An alignment with its answers costs a fraction of a game of DPO, in proportion to its
    targets.
    """
    rjs, dpo = (seconds_of(rows, "method", name) for name in ("rjs", "dpo"))
    first_confirmation, next_confirmation, *_ = [
        *(seconds_of(rows, "confirmation", name) for name in settings.confirmation.settings),
        0.0,
        0.0,
    ]
    planned = [
        batch for batch in games(settings) if batch[0].kind in ("alignment", "comparisons", "model_size")
    ]
    hours_by_set: dict[str, tuple[int, float]] = {}
    for kind, first_game, next_game in (
        ("alignment", rjs, dpo),
        ("comparisons", first_confirmation, next_confirmation),
        ("model_size", first_confirmation, next_confirmation),
    ):
        batches = [batch for batch in planned if batch[0].kind == kind]
        hours_by_set[kind] = (
            sum(map(len, batches)),
            sum(first_game + next_game * (len(batch) - 1) for batch in batches) / 3600,
        )
    sizes = settings.transfer.sizes
    smallest = min(size.targets for size in sizes)
    for size in sizes:
        worlds = [batch for batch in transfer_jobs(settings) if batch[0].targets == size.targets]
        scale = size.targets / smallest
        preparation = first_confirmation + next_confirmation * (
            len(settings.transfer.coefficients) - 1 + 2 * len(settings.transfer.rm_seeds)
        )
        seconds = sum(preparation + scale * dpo / ALIGNMENTS * len(world) for world in worlds)
        hours_by_set[f"transfer, {size.targets:,} targets"] = (sum(map(len, worlds)), seconds / 3600)
    return hours_by_set


def cost_table(rows: Sequence[Row], settings: Settings) -> str:
    """Games and hours of each set."""
    hours_by_set = hours(rows, settings)
    lines = [[name, f"{count:,}", f"{num_hours:.1f}"] for name, (count, num_hours) in hours_by_set.items()]
    return table(["set", "games or alignments", "hours of one core"], lines)
