"""The tables of `transfer.jsonl`: what targets and LLMs gain by chooser, slopes and contrasts."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import numpy as np

from study.markdown import HEAD, columns, difference_text, p_text, table
from study.paired import Row, against_zero
from study.statistics import Paired, holm
from study.transfer import BASE_RM, RANDOM, TRUTH, apo_rm, retrained

World = dict[str, list[Row]]
"""The alignments of one world by one method, by chooser."""
RowValue = Callable[[Row], float]


def worlds(rows: Sequence[Row], targets: int, method: str) -> dict[int, World]:
    """By seed, the alignments on a number of targets by a method, without seeds of two codes."""
    worlds_by_seed: dict[int, World] = {}
    codes: dict[int, set[str | None]] = {}
    for row in rows:
        if (row["targets"], row["method"]) == (targets, method):
            worlds_by_seed.setdefault(row["seed"], {}).setdefault(row["chooser"], []).append(row)
            codes.setdefault(row["seed"], set()).add(row.get("code"))
    return {seed: world for seed, world in worlds_by_seed.items() if len(codes[seed]) == 1}


def groups(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Numbers of targets and methods, in the order of play."""
    return list(dict.fromkeys((row["targets"], row["method"]) for row in rows))


def llm_value(row: Row) -> float:
    """The true reward of the LLM's answers."""
    return float(row["llm"]["true_reward"])


def score_value(row: Row) -> float:
    """The score of the LLM's answers by the testing RM."""
    return float(row["llm"]["score"])


def target_value(row: Row) -> float:
    """The mean true reward of its targets."""
    return float(row["target_true_reward"])


def actor_value(row: Row) -> float:
    """The true reward of the actor's answers to the same queries."""
    return float(row["actor_true_reward"])


def mean_gain(world: World, chooser: str, value: RowValue, other: str = RANDOM) -> float:
    """The mean of a value over the alignment seeds, minus that of another chooser with the same seeds."""
    first, second = ({row["alignment_seed"]: row for row in world[name]} for name in (chooser, other))
    seeds = first.keys() & second.keys()
    return fmean(value(first[seed]) for seed in seeds) - fmean(value(second[seed]) for seed in seeds)


def transfer_slope(world: World, choosers: Sequence[str]) -> float:
    """The LLM's gain per gain of its targets, both over random targets; least squares through the origin."""
    x = np.array([mean_gain(world, name, target_value) for name in choosers])
    y = np.array([mean_gain(world, name, llm_value) for name in choosers])
    return float((x * y).sum() / (x * x).sum())


def contrast(by_seed: dict[int, World], first: str, second: str, value: RowValue) -> Paired | None:
    """A value of one chooser's alignments minus that of another's, over the worlds that have both."""
    both = [world for world in by_seed.values() if {first, second} <= world.keys()]
    return against_zero([mean_gain(world, first, value, second) for world in both])


def actor_gain(by_seed: dict[int, World]) -> Paired | None:
    """The true reward of the actor minus that of the LLM that learns from random targets, over worlds."""
    randoms = [world[RANDOM] for world in by_seed.values() if RANDOM in world]
    return against_zero([fmean(actor_value(row) - llm_value(row) for row in rows) for rows in randoms])


def slopes(by_seed: dict[int, World], coefficients: Sequence[float]) -> dict[str, Paired | None]:
    """The slope over all choosers (planned), over the RMs, over the truth, and `bend`, the gap of the two."""
    rms = [BASE_RM, *map(apo_rm, coefficients)]
    complete = [world for world in by_seed.values() if {RANDOM, TRUTH, *rms} <= world.keys()]
    by_name = {
        name: [transfer_slope(world, choosers) for world in complete]
        for name, choosers in (("slope", [*rms, TRUTH]), ("rm slope", rms), ("truth slope", [TRUTH]))
    }
    bend = [rm - truth for rm, truth in zip(by_name["rm slope"], by_name["truth slope"], strict=True)]
    return {name: against_zero(values) for name, values in (by_name | {"bend": bend}).items()}


def contrasts(
    by_seed: dict[int, World], coefficients: Sequence[float], value: RowValue
) -> dict[str, tuple[str, Paired | None]]:
    """Choosers against each other, by a short name: the title in the table, and the difference of a value."""
    small, large = map(apo_rm, (coefficients[0], coefficients[-1]))
    pairs = {"small": (small, BASE_RM), "apo": (large, BASE_RM), "ceiling": (TRUTH, large)}
    results = {
        name: (f"{first} minus {second}", contrast(by_seed, first, second, value))
        for name, (first, second) in pairs.items()
    }
    again = against_zero(list(_trained_again(by_seed, large, value)))
    return results | ({"again": (f"{large} minus {BASE_RM}, both trained again", again)} if again else {})


def rm_seeds(world: World, chooser: str) -> list[int]:
    """The other seeds with which an RM was trained again and chose."""
    prefix = retrained(chooser, 0)[:-1]
    return sorted(int(name.removeprefix(prefix)) for name in world if name.startswith(prefix))


def _trained_again(by_seed: dict[int, World], chooser: str, value: RowValue) -> Iterator[float]:
    """By world, the mean over the other seeds of an RM of its difference to the base RM of the same seed."""
    for world in by_seed.values():
        seeds = sorted(set(rm_seeds(world, chooser)) & set(rm_seeds(world, BASE_RM)))
        if seeds:
            names = [(retrained(chooser, seed), retrained(BASE_RM, seed)) for seed in seeds]
            yield fmean(mean_gain(world, first, value, second) for first, second in names)


def gains_by_training(world: World, chooser: str) -> list[float]:
    """A chooser minus the base RM in LLMs of one alignment, for each training of both RMs; [] if of one."""
    seeds = sorted(set(rm_seeds(world, chooser)) & set(rm_seeds(world, BASE_RM)))
    if not seeds or not {chooser, BASE_RM} <= world.keys():
        return []
    pairs = [(retrained(chooser, seed), retrained(BASE_RM, seed)) for seed in seeds]
    once = {row["alignment_seed"] for row in world[pairs[0][0]]}
    first = {name: [row for row in rows if row["alignment_seed"] in once] for name, rows in world.items()}
    return [mean_gain(first, apo, llm_value, base) for apo, base in [(chooser, BASE_RM), *pairs]]


def over_trainings(rows: Sequence[Row], chooser: str) -> dict[str, Paired | None]:
    """The mean of `gains_by_training`, one number a world: as `TARGETS METHOD trainings`.

    `METHOD trainings` is the mean over the numbers of targets, over the seeds that have all of them, and
    `METHOD targets` the difference of the largest and the smallest number.
    """
    by_method: dict[str, list[dict[int, float]]] = {}
    results: dict[str, Paired | None] = {}
    for targets, method in sorted(groups(rows)):
        by_seed = {
            seed: gains_by_training(world, chooser) for seed, world in worlds(rows, targets, method).items()
        }
        means = {seed: fmean(gains) for seed, gains in by_seed.items() if gains}
        if means:
            results[f"{targets} {method} trainings"] = against_zero(list(means.values()))
            by_method.setdefault(method, []).append(means)
    for method, sizes in by_method.items():
        seeds = sorted(set.intersection(*map(set, sizes)))
        results[f"{method} trainings"] = against_zero([fmean(size[seed] for size in sizes) for seed in seeds])
        results[f"{method} targets"] = against_zero([sizes[-1][seed] - sizes[0][seed] for seed in seeds])
    return results


def transfer_results(rows: Sequence[Row], coefficients: Sequence[float]) -> dict[str, Paired | None]:
    """What the words of the page quote, as `TARGETS METHOD NAME`.

    The names are those of `slopes` and `contrasts`, the latter also with ` score`, by the testing RM, and
    ` targets`, of the targets; `actor` is the actor minus the LLM that learns from random targets; then those
    of `over_trainings`.
    """
    results: dict[str, Paired | None] = {}
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        found = slopes(by_seed, coefficients) | {"actor": actor_gain(by_seed)}
        for suffix, value in (("", llm_value), (" score", score_value), (" targets", target_value)):
            for name, (_, result) in contrasts(by_seed, coefficients, value).items():
                found[name + suffix] = result
        results |= {f"{targets} {method} {name}": result for name, result in found.items()}
    return results | over_trainings(rows, apo_rm(coefficients[-1]))


def gain_table(rows: Sequence[Row], coefficients: Sequence[float]) -> str:
    """The gain of targets and LLM over a random choice, by chooser; the actor; the slopes."""
    titles = {
        "slope": "slope, all choosers (planned)",
        "rm slope": "slope, the RMs alone",
        "truth slope": "slope, the truth alone",
        "bend": "the RMs' slope minus that of the truth",
    }
    lines = []
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        start = [f"{targets:,}", method]
        if actor := actor_gain(by_seed):
            lines.append([*start, "the actor, not aligned", "", *columns(actor)])
        for name in (BASE_RM, *map(apo_rm, coefficients), TRUTH):
            target, llm = (contrast(by_seed, name, RANDOM, value) for value in (target_value, llm_value))
            if target and llm:
                lines.append([*start, name, f"{target.difference:+.3f}", *columns(llm)])
        found = slopes(by_seed, coefficients)
        lines += [[*start, titles[name], "", *columns(slope)] for name, slope in found.items() if slope]
    head = ["targets", "method", "chosen by", "targets over random", "LLM over random: " + HEAD[0], *HEAD[1:]]
    return table(head, lines)


def contrast_table(rows: Sequence[Row], coefficients: Sequence[float]) -> str:
    """Choosers against each other: targets, LLM with Holm over the table, and its score by the testing RM."""
    played = []
    for targets, method in groups(rows):
        by_seed = worlds(rows, targets, method)
        by_target, by_truth, by_score = (
            contrasts(by_seed, coefficients, value) for value in (target_value, llm_value, score_value)
        )
        for name, (title, llm) in by_truth.items():
            target, score = by_target[name][1], by_score[name][1]
            if target and llm and score:
                played.append((f"{targets:,}", method, title, target, llm, score))
    corrected = holm([llm.p for *_, llm, _ in played])
    lines = [
        [
            *start,
            f"{target.difference:+.3f}",
            *columns(llm),
            p_text(p),
            difference_text(score),
            p_text(score.p),
        ]
        for (*start, target, llm, score), p in zip(played, corrected, strict=True)
    ]
    head = ["targets", "method", "LLMs", "their targets", "true reward: " + HEAD[0], *HEAD[1:], "Holm"]
    return table([*head, "score by the testing RM", "p"], lines)
