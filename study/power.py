"""The differences that a number of seeds can decide, from the spread over seeds in the kept results."""

import math
from collections.abc import Sequence

from study.markdown import table
from study.paired import Row, apo_minus_base, games_of
from study.statistics import POWER, Paired, detectable, seeds_for, spread_factors
from study.tables import CELLS, pooled_llm

SEEDS = (10, 20)
HEAD = ["difference APO minus base", "spread over seeds", "its 95 % interval"]


def measures(rows: Sequence[Row]) -> list[tuple[str, Paired | None, float]]:
    """Name, result, and a difference of interest.

    It is the paper's if the paper has the unit, else that of the choice at the paper's coefficient (0.04), or
    0.1 for the LLM.
    """
    baseline = games_of(rows, "method", "rjs")
    few_comparisons = games_of(rows, "sweep", "240 comparisons for the RM")
    results = [
        ("test accuracy", apo_minus_base(baseline, "accuracy"), 0.037),
        ("ECE", apo_minus_base(baseline, "ece"), 0.014),
        ("true reward of the chosen responses", apo_minus_base(baseline, "chosen"), 0.04),
        ("... at coeff 2", apo_minus_base(games_of(rows, "sweep", "coeff 2"), "chosen"), 0.04),
        ("... with 240 comparisons", apo_minus_base(few_comparisons, "chosen"), 0.04),
    ]
    for name, round in CELLS:
        result = apo_minus_base(games_of(rows, "method", name), "llm_true_reward", round)
        results.append((f"true reward of the LLM, {name.upper()}, round {round[1:]}", result, 0.1))
    return [*results, ("... mean over the six cells", pooled_llm(rows), 0.1)]


def power_table(rows: Sequence[Row]) -> str:
    """For each measure its spread, the differences that 10 and 20 seeds decide, and the seeds it needs."""
    lines = []
    for name, result, effect in measures(rows):
        if result is None or result.spread == 0:
            continue
        low, high = (result.spread * factor for factor in spread_factors(result.seeds))
        needed = seeds_for(effect, result.spread)
        lines.append(
            [
                name,
                f"{result.spread:.3f}",
                f"{low:.3f} to {high:.3f}",
                *(_text(detectable(result.spread, seeds)) for seeds in SEEDS),
                f"{effect:g}: {needed or 'over 2,000'}",
            ]
        )
    decided = [f"{seeds} seeds decide" for seeds in SEEDS]
    return table([*HEAD, *decided, "seeds for a difference of"], lines)


def _text(value: float) -> str:
    return "nothing" if math.isinf(value) else f"{value:.3f}"


def power_note() -> str:
    """The note below the table."""
    return (
        f"A true difference of that size is decided with probability {POWER:g} by one two-sided test at 5 %, "
        "without a correction for several tests."
    )
