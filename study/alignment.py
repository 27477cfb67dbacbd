"""The set `alignment`: LLMs aligned at the coefficient whose choice is better, and at its control."""

from collections.abc import Sequence
from typing import Any

from study.collect import FEWER
from study.markdown import (
    HEAD,
    NOT_PLAYED,
    Number,
    Shown,
    by_name,
    columns,
    difference_text,
    means,
    p_text,
    table,
    verdict_word,
)
from study.paired import (
    APO,
    BASE,
    Games,
    Row,
    Value,
    against_zero,
    difference,
    gains_over,
    games_of,
    mean_over,
    of_arm,
    read_gain,
)
from study.pipeline import ROUNDS
from study.settings import Settings, alignment_name
from study.statistics import LEVEL, Paired, holm, power, seeds_for
from study.tables import CELLS

TRUE_REWARD, SCORE = "llm_true_reward", "llm_score"
MEASURES = {TRUE_REWARD: "true reward", SCORE: "score by the testing RM"}
SIDES = (
    "coeff 2 minus coeff 0",
    "coeff 2 minus the base arm",
    "coeff 0 minus the base arm",
    "coeff 0.1 minus coeff 0",
    "coeff 2 minus coeff 0.1",
)
"""What is compared: two APO arms, or an APO arm and the base arm of its game. The first was planned.

Those at 0.1 are of the set `method`.
"""
PLANNED = (TRUE_REWARD, SIDES[0])
ALL = 4
"""Samples of a query in all games of the set."""
TWO_LOOKS = 0.029
"""The p of each of two looks at a growing set that keep 5 % in all (Pocock, 1977, Biometrika 64)."""


def alignment_results(
    rows: Sequence[Row], settings: Settings, measure: str = TRUE_REWARD, side: str = SIDES[0]
) -> dict[str, Paired]:
    """A measure of the LLMs on one side minus the other, same seed, by cell, such as `rjs 1`.

    What fewer than two seeds have played is left out.
    """
    results = {}
    for method, round in CELLS:
        (games, value), (other_games, other) = _sides(rows, settings, method, round, measure, side)
        if result := difference(games, value, other_games, other):
            results[f"{method} {round[1:]}"] = result
    return results


def alignment_mean(
    rows: Sequence[Row],
    settings: Settings,
    measure: str = TRUE_REWARD,
    side: str = SIDES[0],
    only_cells: Sequence[tuple[str, str]] = CELLS,
) -> Paired | None:
    """As `alignment_results`, the mean of the six cells or some of them, one number a seed."""
    return against_zero(list(_cell_means(rows, settings, measure, side, only_cells).values()))


def round_growth(
    rows: Sequence[Row], settings: Settings, measure: str = TRUE_REWARD, *, over_first: bool = False
) -> Paired | None:
    """What round two adds to the planned difference, mean of the methods.

    The LLM of round two starts from that of round one, so its difference is the lead after both. With
    `over_first`, what round two adds minus what round one gave.
    """
    first, last = (
        _cell_means(rows, settings, measure, SIDES[0], [cell for cell in CELLS if cell[1] == round])
        for round in ROUNDS
    )
    times = 2 if over_first else 1
    return against_zero([last[seed] - times * first[seed] for seed in first if seed in last])


def _cell_means(
    rows: Sequence[Row], settings: Settings, measure: str, side: str, only_cells: Sequence[tuple[str, str]]
) -> dict[int, float]:
    cells: list[tuple[Games, Value]] = []
    for method, round in only_cells:
        (games, value), (other_games, other) = _sides(rows, settings, method, round, measure, side)
        cells.append((gains_over(games, value, other_games, other), read_gain))
    return mean_over(cells)


def _sides(
    rows: Sequence[Row], settings: Settings, method: str, round: str, measure: str, side: str
) -> tuple[tuple[Games, Value], tuple[Games, Value]]:
    first, control = (
        games_of(rows, "alignment", alignment_name(method, coefficient))
        for coefficient in settings.alignment.coefficients
    )
    small = games_of(rows, "method", method)
    apo, base = (of_arm(measure, round, arm) for arm in (APO, BASE))
    sides = [
        ((first, apo), (control, apo)),
        ((first, apo), (first, base)),
        ((control, apo), (control, base)),
        ((small, apo), (control, apo)),
        ((first, apo), (small, apo)),
    ]
    return dict(zip(SIDES, sides, strict=True))[side]


def alignment_table(rows: Sequence[Row], settings: Settings) -> str:
    """The planned differences of the cells with Holm's p over them, and those by the testing RM."""
    results, scores = (alignment_results(rows, settings, measure) for measure in MEASURES)
    corrected = holm([result.p for result in results.values()])
    lines = [
        [
            *name.split(),
            *means(result),
            *columns(result),
            p_text(p),
            difference_text(scores[name]),
            p_text(scores[name].p),
        ]
        for (name, result), p in zip(results.items(), corrected, strict=True)
    ]
    head = ["method", "round", "coeff 0", "coeff 2", "true reward: " + HEAD[0], *HEAD[1:], "Holm"]
    return table([*head, "score by the testing RM", "p"], lines)


def mean_table(rows: Sequence[Row], settings: Settings) -> str:
    """The means over the six cells, side by side, by both measures."""
    lines = []
    for measure, words in MEASURES.items():
        for side in SIDES:
            if result := alignment_mean(rows, settings, measure, side):
                planned = "yes" if (measure, side) == PLANNED else "no"
                lines.append([words, side, planned, *columns(result)])
    return table(["mean of the six cells", "", "planned", *HEAD], lines)


def samples_results(rows: Sequence[Row], settings: Settings) -> dict[int, list[Paired | None]]:
    """The true reward of the choice in round one, by the number of samples to choose among.

    Three differences each: base RM minus a random sample; APO RM at the first coefficient minus the base RM,
    and minus the APO RM at coeff 0.
    """
    first, control = (
        games_of(rows, "alignment", alignment_name("rjs", coefficient))
        for coefficient in settings.alignment.coefficients
    )
    results = {}
    for samples, measure in {**{number: f"chosen_of_{number}" for number in FEWER}, ALL: "chosen"}.items():
        apo, base, random = (
            of_arm(measure, "r1", APO),
            of_arm(measure, "r1", BASE),
            of_arm("random", "r1", BASE),
        )
        results[samples] = [
            difference(first, base, first, random),
            difference(first, apo, first, base),
            difference(first, apo, control, apo),
        ]
    return results


def samples_growth(rows: Sequence[Row], settings: Settings) -> Paired | None:
    """The choice at the first coefficient minus that at coeff 0, among all samples minus among two."""
    first, control = (
        games_of(rows, "alignment", alignment_name("rjs", coefficient))
        for coefficient in settings.alignment.coefficients
    )

    def growth(row: Row) -> float:
        pairs = row["pairs"]["r1"]
        return float(pairs["chosen"][APO] - pairs[f"chosen_of_{FEWER[0]}"][APO])

    return difference(first, growth, control, growth)


def samples_table(rows: Sequence[Row], settings: Settings) -> str:
    """What more samples to each query bring."""
    lines = []
    for samples, (over_random, over_base, over_control) in samples_results(rows, settings).items():
        if over_random and over_base and over_control:
            needed = seeds_for(over_control.difference, over_control.spread) if over_control.spread else None
            cells = [f"{over_random.difference:+.3f}"]
            for result in (over_base, over_control):
                cells += [difference_text(result), p_text(result.p)]
            lines.append([samples, *cells, needed or "over 2,000"])
    head = ["samples", "base RM over random", "coeff 2 over the base RM", "p", "over coeff 0", "p"]
    return table([*head, "seeds to decide that"], lines)


def word_of_two_looks(mean: Paired | None) -> str:
    """`verdict_word` of the planned mean, at the p of `TWO_LOOKS`."""
    if mean is None:
        return NOT_PLAYED
    return verdict_word(mean) if mean.p <= TWO_LOOKS else "undecided"


def alignment_values(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """What the pages quote: `aligned` and, by the testing RM, `aligned_score`, by cell, and their `mean`."""
    cells, scores = (alignment_results(rows, settings, measure) for measure in MEASURES)
    means_of = {measure: alignment_mean(rows, settings, measure) for measure in MEASURES}
    corrected = holm([result.p for result in cells.values()])
    needed = {
        "true": cells.get("rjs 1"),
        "score": scores.get("rjs 1"),
        "mean": means_of[TRUE_REWARD],
        "mean score": means_of[SCORE],
    }
    fresh = [row for row in rows if row["seed"] in settings.confirmation.seeds]
    first_look = [row for row in rows if row["seed"] in settings.seeds]
    return {
        "aligned": by_name({**cells, "mean": means_of[TRUE_REWARD]}),
        "aligned_score": by_name({**scores, "mean": means_of[SCORE]}),
        "aligned_round": by_name(
            {
                round: alignment_mean(rows, settings, only_cells=[cell for cell in CELLS if cell[1] == round])
                for round in ROUNDS
            }
        ),
        "aligned_part": by_name(
            {
                f"{name}{suffix}": alignment_mean(part, settings, measure)
                for name, part in (("first look", first_look), ("fresh", fresh))
                for suffix, measure in (("", TRUE_REWARD), (" score", SCORE))
            }
            | {"fresh base": alignment_mean(fresh, settings, TRUE_REWARD, SIDES[1])}
        ),
        "aligned_side": by_name(
            {side: alignment_mean(rows, settings, TRUE_REWARD, side) for side in SIDES[1:]}
        ),
        "aligned_side_score": by_name(
            {side: alignment_mean(rows, settings, SCORE, side) for side in SIDES[1:]}
        ),
        "aligned_growth": by_name(
            {
                "true": round_growth(rows, settings),
                "score": round_growth(rows, settings, SCORE),
                "over first": round_growth(rows, settings, over_first=True),
            }
        ),
        "samples_growth": Shown(samples_growth(rows, settings)),
        "aligned_ahead": f"{sum(result.difference > 0 for result in cells.values())} of {len(cells)}",
        "aligned_holm": f"{sum(p <= LEVEL for p in corrected)} of {len(cells)}",
        "aligned_interim": f"{sum(p <= TWO_LOOKS for p in corrected)} of {len(cells)}",
        "aligned_verdict": word_of_two_looks(means_of[TRUE_REWARD]),
        "aligned_seeds": max((result.seeds for result in cells.values()), default=0),
        "aligned_planned": len(settings.alignment.seeds),
        "aligned_power": {
            name: Number(power(result.difference, result.spread, 10) if result else None)
            for name, result in needed.items()
        },
        "aligned_needs": {
            name: Number(seeds_for(result.difference, result.spread) if result else None)
            for name, result in needed.items()
        },
    }
