"""The tables of `transfer.jsonl`: gains by chooser, slopes and spreads."""

from collections.abc import Callable, Sequence
from statistics import fmean, variance

import numpy as np

from study.markdown import HEAD, columns, table
from study.paired import Row, against_zero
from study.statistics import Paired, seeds_for
from study.transfer import BASE_RM, RANDOM, TRUTH

World = dict[str, list[Row]]
"""The alignments of one world by one method, by chooser."""


def worlds(rows: Sequence[Row], targets: int, method: str) -> dict[int, World]:
    """By seed, the alignments on a number of targets by a method."""
    worlds_by_seed: dict[int, World] = {}
    for row in rows:
        if (row["targets"], row["method"]) == (targets, method):
            worlds_by_seed.setdefault(row["seed"], {}).setdefault(row["chooser"], []).append(row)
    return worlds_by_seed


def mean_gain(world: World, chooser: str, value: Callable[[Row], float]) -> float:
    """The mean of a value over the alignment seeds, minus that of the random choice with the same seeds."""
    seeds = {row["alignment_seed"] for row in world[RANDOM]} & {
        row["alignment_seed"] for row in world[chooser]
    }
    chooser_mean, random_mean = (
        fmean(value(row) for row in world[name] if row["alignment_seed"] in seeds)
        for name in (chooser, RANDOM)
    )
    return chooser_mean - random_mean


def llm_value(row: Row) -> float:
    """The true reward of the LLM's answers."""
    return float(row["llm"]["true_reward"])


def target_value(row: Row) -> float:
    """The mean true reward of its targets."""
    return float(row["target_true_reward"])


def transfer_slope(world: World) -> float:
    """The LLM's gain per gain of its targets, both over random targets; least squares through the origin."""
    names = [name for name in world if name != RANDOM]
    x = np.array([mean_gain(world, name, target_value) for name in names])
    y = np.array([mean_gain(world, name, llm_value) for name in names])
    return float((x * y).sum() / (x * x).sum())


def groups(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Numbers of targets and methods, in the order of play."""
    return list(dict.fromkeys((row["targets"], row["method"]) for row in rows))


def contrast(
    by_seed: dict[int, World], first: str, second: str, value: Callable[[Row], float]
) -> Paired | None:
    """A value of one chooser's alignments minus that of another's, over the worlds that have both."""
    both = [world for world in by_seed.values() if {RANDOM, first, second} <= world.keys()]
    return against_zero([mean_gain(world, first, value) - mean_gain(world, second, value) for world in both])


def transfer_results(rows: Sequence[Row], coefficient: str) -> dict[str, Paired | None]:
    """What the words of the page quote: `TARGETS METHOD slope`, and three contrasts of LLMs by chooser."""
    results = {}
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        name = f"{targets} {method}"
        slopes = [transfer_slope(_without_rm_seeds(world)) for world in by_seed.values() if TRUTH in world]
        results[f"{name} slope"] = against_zero(slopes)
        results[f"{name} base"] = contrast(by_seed, BASE_RM, RANDOM, llm_value)
        results[f"{name} apo"] = contrast(by_seed, coefficient, BASE_RM, llm_value)
        results[f"{name} ceiling"] = contrast(by_seed, TRUTH, coefficient, llm_value)
    return results


def gain_table(rows: Sequence[Row], coefficient: str) -> str:
    """The gain of targets and LLM over a random choice, by chooser; the slope and two contrasts."""
    lines = []
    for targets, method in groups(rows):
        by_seed = {
            seed: world
            for seed, world in worlds(rows, targets, method).items()
            if {RANDOM, TRUTH, BASE_RM} <= world.keys()
        }
        names = dict.fromkeys(name for world in by_seed.values() for name in world if "RM seed" not in name)
        for name in names:
            with_chooser = [world for world in by_seed.values() if name in world]
            gains = [
                against_zero([mean_gain(world, name, value) for world in with_chooser])
                for value in (target_value, llm_value)
            ]
            if name != RANDOM and gains[0] and gains[1]:
                lines.append(
                    [f"{targets:,}", method, name, f"{gains[0].difference:+.3f}", *columns(gains[1])]
                )
        slope = against_zero([transfer_slope(_without_rm_seeds(world)) for world in by_seed.values()])
        if slope:
            lines.append([f"{targets:,}", method, "slope, LLM per target", "", *columns(slope)])
        for first, second in ((coefficient, BASE_RM), (TRUTH, coefficient)):
            target, llm = (contrast(by_seed, first, second, value) for value in (target_value, llm_value))
            if target and llm:
                name = f"{first} minus {second}"
                lines.append([f"{targets:,}", method, name, f"{target.difference:+.3f}", *columns(llm)])
    return table(
        ["targets", "method", "chosen by", "targets over random", "LLM over random: " + HEAD[0], *HEAD[1:]],
        lines,
    )


def spread_table(rows: Sequence[Row], coefficient: str) -> str:
    """The standard deviation of an LLM's true reward by what is repeated, and the seeds needed to decide.

    Alignment: another order of the same targets. RM: trained again on the same data. World: the difference
    between the LLMs of two choosers, over seeds.
    """
    lines = []
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        alignment = alignment_spread(by_seed)
        rm = rm_spread(by_seed, coefficient)
        complete = [world for world in by_seed.values() if {RANDOM, BASE_RM, coefficient} <= world.keys()]
        result = against_zero(
            [
                mean_gain(world, coefficient, llm_value) - mean_gain(world, BASE_RM, llm_value)
                for world in complete
            ]
        )
        if alignment is not None and result:
            needed = seeds_for(result.difference, result.spread) if result.spread else None
            rm_text = "" if rm is None else f"{rm:.3f}"
            seeds = str(needed or "over 2,000")
            lines.append([f"{targets:,}", method, f"{alignment:.3f}", rm_text, *_world(result), seeds])
    head = [
        "targets",
        "method",
        "alignment",
        "RM",
        "world",
        f"{coefficient} minus {BASE_RM}",
        "seeds to decide it",
    ]
    return table(head, lines)


def alignment_spread(by_seed: dict[int, World]) -> float | None:
    """The spread over seeds of the alignment, pooled over worlds and choosers; None without repetitions."""
    variances = [
        variance(map(llm_value, alignments))
        for world in by_seed.values()
        for alignments in world.values()
        if len(alignments) > 1
    ]
    return fmean(variances) ** 0.5 if variances else None


def rm_spread(by_seed: dict[int, World], chooser: str) -> float | None:
    """The spread over seeds of the RM, with one alignment seed, pooled over worlds; None if not played."""
    variances = []
    for world in by_seed.values():
        retrained = [
            row for name, rows in world.items() if name.startswith(f"{chooser}, RM seed") for row in rows
        ]
        seeds = {row["alignment_seed"] for row in retrained}
        original = [row for row in world.get(chooser, []) if row["alignment_seed"] in seeds]
        if retrained and original:
            variances.append(variance(map(llm_value, [*original, *retrained])))
    return fmean(variances) ** 0.5 if variances else None


def _without_rm_seeds(world: World) -> World:
    return {name: rows for name, rows in world.items() if "RM seed" not in name}


def _world(result: Paired) -> list[str]:
    return [f"{result.spread:.3f}", columns(result)[0]]
