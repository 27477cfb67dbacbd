"""How long the sets that were not played will take, from the seconds of the games that were."""

from collections.abc import Sequence
from statistics import fmean

from study.markdown import table
from study.paired import Row
from study.settings import Settings, games
from study.transfer import transfer_jobs

ALIGNMENTS = 7
"""A further game of two rounds costs as much as so many alignments: four, and the stages of round two."""


def seconds_of(rows: Sequence[Row], kind: str, name: str) -> float:
    """The mean of the kept games of a name; 0 where there is none."""
    found = [row["seconds"] for row in rows if (row["kind"], row["name"]) == (kind, name)]
    return fmean(found) if found else 0.0


def hours(rows: Sequence[Row], settings: Settings) -> dict[str, tuple[int, float]]:
    """By set, how many games or alignments it has and the hours of one core that all of them take.

    A first game of a seed costs what those of RJS or of the confirmation did, a further one what those after
    them did; an alignment with its answers, a fraction of one of DPO, in proportion to its targets.
    """
    rjs, dpo = (seconds_of(rows, "method", name) for name in ("rjs", "dpo"))
    world, further, *_ = [
        *(seconds_of(rows, "confirmation", name) for name in settings.confirmation.settings),
        0.0,
        0.0,
    ]
    planned = [line for line in games(settings) if line[0].kind in ("alignment", "comparisons")]
    found: dict[str, tuple[int, float]] = {}
    for kind, first, after in (("alignment", rjs, dpo), ("comparisons", world, further)):
        lines = [line for line in planned if line[0].kind == kind]
        found[kind] = (
            sum(map(len, lines)),
            sum(first + after * (len(line) - 1) for line in lines) / 3600,
        )
    sizes = settings.transfer.sizes
    smallest = min(size.targets for size in sizes)
    for size in sizes:
        lists = [line for line in transfer_jobs(settings) if line[0].targets == size.targets]
        scale = size.targets / smallest
        before = world + further * (
            len(settings.transfer.coefficients) - 1 + 2 * len(settings.transfer.rm_seeds)
        )
        seconds = sum(before + scale * dpo / ALIGNMENTS * len(line) for line in lists)
        found[f"transfer, {size.targets:,} targets"] = (sum(map(len, lists)), seconds / 3600)
    return found


def cost_table(rows: Sequence[Row], settings: Settings) -> str:
    """Games and hours of each set."""
    found = hours(rows, settings)
    lines = [[name, f"{count:,}", f"{hour:.1f}"] for name, (count, hour) in found.items()]
    return table(["set", "games or alignments", "hours of one core"], lines)
