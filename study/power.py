"""The differences that a number of seeds can decide, from the spread over seeds in the kept results."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from study.markdown import Number, table
from study.paired import Row, apo_minus_base, games_of
from study.settings import Settings, alignment_name
from study.statistics import POWER, Paired, detectable, seeds_for, spread_factors
from study.tables import CELLS, pooled_llm

SEEDS = (10, 20)
QUERY_FACTORS = (1, 4, 100)
EFFECT = 0.1
"""A true difference between LLMs that is of interest."""
HEAD = ["difference APO minus base", "spread over seeds", "its 95 % interval"]


def measures(rows: Sequence[Row]) -> list[tuple[str, Paired | None, float]]:
    """Name, result, and a difference of interest.

    It is the paper's if the paper has the unit, else that of the choice as it was seen at 0.1 (0.04), or
    `EFFECT` for the LLM.
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
        results.append((f"true reward of the LLM, {name.upper()}, round {round[1:]}", result, EFFECT))
    return [*results, ("... mean over the six cells", pooled_llm(rows), EFFECT)]


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


class QueryPart(NamedTuple):
    """What the test queries add to the spread of a difference between LLMs.

    Attributes:
        method: The way to align.
        round: The round, such as `r1`.
        queries: The number of test queries.
        seeds: The number of seeds.
        spread: The standard deviation over seeds, that of the queries in it.
        error: The standard error over queries, the root of the mean square over seeds.
    """

    method: str
    round: str
    queries: float
    seeds: int
    spread: float
    error: float

    @property
    def share(self) -> float:
        """The part of the variance over seeds that is due to the queries, at most 1."""
        return min(1.0, (self.error / self.spread) ** 2)

    @property
    def share_text(self) -> str:
        """The share with the interval that the 95 % interval of the spread gives it, in per cent."""
        low, high = (min(1.0, self.share / factor**2) for factor in reversed(spread_factors(self.seeds)))
        return f"{self.share:.0%} ({100 * low:.0f} to {100 * high:.0f})"

    def spread_with(self, factor: float) -> float:
        """The spread with `factor` times the queries: the variance over queries is one over their number."""
        return self.spread * math.sqrt(1 - self.share + self.share / factor)


def query_parts(rows: Sequence[Row], settings: Settings) -> list[QueryPart]:
    """Of the LLMs' true reward, APO minus base, in the set `alignment` at its first coefficient."""
    parts = []
    for method, round in CELLS:
        games = games_of(rows, "alignment", alignment_name(method, settings.alignment.coefficients[0]))
        games = {seed: row for seed, row in games.items() if "query_error" in row}
        result = apo_minus_base(games, "llm_true_reward", round)
        if result and result.spread:
            errors = [row["query_error"][round] for row in games.values()]
            error = math.sqrt(fmean(row["true_reward"] ** 2 for row in errors))
            queries = fmean(row["queries"] for row in errors)
            parts.append(QueryPart(method, round, queries, result.seeds, result.spread, error))
    return parts


def query_table(rows: Sequence[Row], settings: Settings) -> str:
    """What more test queries would bring, by method and round."""
    lines = [
        [
            part.method,
            part.round[1:],
            f"{part.queries:,.0f}",
            f"{part.spread:.3f}",
            f"{part.error:.3f}",
            part.share_text,
            *(seeds_for(EFFECT, part.spread_with(factor)) or "over 2,000" for factor in QUERY_FACTORS),
        ]
        for part in query_parts(rows, settings)
    ]
    head = [
        "method",
        "round",
        "test queries",
        "spread over seeds",
        "error over queries",
        "share of the variance, 95 % interval",
    ]
    more = [f"with {factor:g} times the queries" for factor in QUERY_FACTORS[1:]]
    return table([*head, f"seeds for a difference of {EFFECT:g}", *more], lines)


def query_values(rows: Sequence[Row], settings: Settings) -> dict[str, Number]:
    """The lowest and the highest share of `query_table` in per cent, for the page."""
    shares = [100 * part.share for part in query_parts(rows, settings)]
    low, high = min(shares, default=None), max(shares, default=None)
    return {"query_share_low": Number(low), "query_share_high": Number(high)}


def _text(value: float) -> str:
    return "nothing" if math.isinf(value) else f"{value:.3f}"


def power_note() -> str:
    """The note below the table."""
    return (
        f"A true difference of that size is decided with probability {POWER:g} by one two-sided test at 5 %, "
        "without a correction for several tests."
    )
