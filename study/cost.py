"""The hours of the planned sets, by the seconds of their own games; before one is played, of other games."""

from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from study.markdown import table
from study.paired import Row
from study.settings import Settings, games
from study.transfer import transfer_jobs

PLANNED = ("alignment", "comparisons", "model_size")
ALIGNMENTS = 7
"""The cost of a game in alignments of the smallest size: its two rounds have four of them, and all else."""


def hours(
    rows: Sequence[Row], alignments: Sequence[Row], settings: Settings
) -> dict[str, tuple[int, int, float]]:
    """By set: its games or alignments, those that are kept, and the hours of one core for all of them.

    Args:
        rows: The kept games.
        alignments: The kept alignments of the set `transfer`.
        settings: The settings.
    """
    game = _mean_seconds(rows, 0.0)
    planned = list(chain.from_iterable(games(settings)))
    hours_by_set = {}
    for kind in PLANNED:
        kept = [row for row in rows if row["kind"] == kind]
        count = sum(one.kind == kind for one in planned)
        hours_by_set[kind] = (count, len(kept), count * _mean_seconds(kept, game) / 3600)
    jobs = list(chain.from_iterable(transfer_jobs(settings)))
    smallest = min(size.targets for size in settings.transfer.sizes)
    for targets in (size.targets for size in settings.transfer.sizes):
        kept = [row for row in alignments if row["targets"] == targets]
        count = sum(job.targets == targets for job in jobs)
        seconds = _mean_seconds(kept, game / ALIGNMENTS * targets / smallest)
        hours_by_set[f"transfer, {targets:,} targets"] = (count, len(kept), count * seconds / 3600)
    return hours_by_set


def _mean_seconds(rows: Sequence[Row], otherwise: float) -> float:
    return fmean(row["seconds"] for row in rows) if rows else otherwise


def cost_table(rows: Sequence[Row], alignments: Sequence[Row], settings: Settings) -> str:
    """Games and hours of each set."""
    lines = [
        [name, f"{count:,}", f"{kept:,}", f"{core_hours:.1f}"]
        for name, (count, kept, core_hours) in hours(rows, alignments, settings).items()
    ]
    return table(["set", "games or alignments", "played", "hours of one core for all"], lines)
