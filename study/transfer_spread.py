"""The spreads of `transfer.jsonl`: how much of a difference between LLMs is alignment, RM and world."""

from collections.abc import Sequence
from statistics import fmean, variance

from study.markdown import columns, table
from study.paired import Row
from study.statistics import seeds_for
from study.transfer import BASE_RM, apo_rm
from study.transfer_report import World, contrast, gains_by_training, groups, llm_value, worlds


def alignment_spread(by_seed: dict[int, World], chooser: str) -> float | None:
    """The standard deviation of a chooser minus the base RM, in LLMs, over alignment seeds; None without any.

    Both LLMs of a difference have one alignment seed: an order of the targets is shared, so their values vary
    together. Pooled over worlds.
    """
    variances = []
    for world in by_seed.values():
        if {chooser, BASE_RM} <= world.keys():
            first, second = (
                {row["alignment_seed"]: llm_value(row) for row in world[name]} for name in (chooser, BASE_RM)
            )
            seeds = sorted(first.keys() & second.keys())
            if len(seeds) > 1:
                variances.append(variance(first[seed] - second[seed] for seed in seeds))
    return fmean(variances) ** 0.5 if variances else None


def rm_spread(by_seed: dict[int, World], chooser: str) -> float | None:
    """The standard deviation of a chooser minus the base RM over seeds of both RMs, in LLMs of one alignment.

    Pooled over worlds; None if the RMs were not trained again. Each is an alignment on other targets, so
    about the spread of an alignment is in it.
    """
    trainings = [gains for world in by_seed.values() if (gains := gains_by_training(world, chooser))]
    return fmean(map(variance, trainings)) ** 0.5 if trainings else None


def spread_table(rows: Sequence[Row], coefficients: Sequence[float]) -> str:
    """What varies in the difference between the LLMs of two choosers, and the seeds needed to decide it.

    Standard deviations: `alignment` of the difference of two LLMs with one alignment seed, a; `RM` what other
    seeds of both RMs add to it, r; `world`, w, what is left of that as it was played, the mean of k alignment
    seeds, whose square is a^2 / k + r^2 + w^2. A negative rest is shown as 0.
    """
    large = apo_rm(coefficients[-1])
    lines = []
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        alignment, rms = alignment_spread(by_seed, large), rm_spread(by_seed, large)
        result = contrast(by_seed, large, BASE_RM, llm_value)
        if alignment is None or result is None:
            continue
        repeats = fmean(len(world[large]) for world in by_seed.values() if large in world)
        of_alignment = alignment**2
        of_rms = None if rms is None else max(0.0, rms**2 - of_alignment)
        rest = max(0.0, result.spread**2 - of_alignment / repeats - (of_rms or 0.0))
        parts = [f"{of_alignment**0.5:.3f}"]
        parts += ["not played" if of_rms is None else f"{of_rms**0.5:.3f}", f"{rest**0.5:.3f}"]
        needed = seeds_for(result.difference, result.spread) if result.spread else None
        lines.append(
            [
                f"{targets:,}",
                method,
                *parts,
                f"{result.spread:.3f}",
                columns(result)[0],
                needed or "over 2,000",
            ]
        )
    head = ["targets", "method", "alignment", "RM", "world (and RM where not played)", "as played"]
    return table([*head, f"{large} minus {BASE_RM}", "seeds to decide it"], lines)
