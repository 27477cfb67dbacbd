"""The numbers in the sentences of docs/results.md and docs/when.md, by the names of the templates."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from study.alignment import alignment_values
from study.claims import (
    ECE_AND_CHOICE,
    FAILS,
    HOLDS,
    OPEN,
    SAME,
    SMALLER,
    claims,
    claims_holm,
    ece_and_choice,
)
from study.golden_weight import WEIGHTS, golden_weights, weight_probe
from study.hours import hours_of
from study.markdown import Number, Shown, by_name, numbers, p_text
from study.paired import (
    APO,
    CONTROL,
    Games,
    Row,
    apo_minus_base,
    difference,
    gain,
    games_of,
    of_arm,
    shared_seeds,
)
from study.power import query_values
from study.results import mixed_sets
from study.settings import Axis, AxisSet, Settings, axis_name
from study.statistics import LEVEL, Paired, holm, spread_factors
from study.tables import (
    CELLS,
    METHODS,
    RM_MEASURES,
    confirmation_results,
    control_results,
    pooled_llm,
    question_results,
    settings_of_sweep,
)
from study.transfer_report import transfer_results
from study.trend import axis_results, axis_slope, by_coefficient, coefficient_steps, slopes

ECE_LIMIT = 0.15
"""The gate's default when these games were played."""


def values(rows: Sequence[Row], transfer: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """All numbers by name. A missing one is shown as not played."""
    return {
        "same": SAME,
        "weight_low": min(WEIGHTS.values()),
        "weight_high": max(WEIGHTS.values()),
        "ece_limit": ECE_LIMIT,
        "mixed": "; ".join(
            f"{name}: {', '.join(codes)}" for name, codes in mixed_sets(rows, transfer).items()
        )
        or "none",
        **_question(rows),
        **_sweep(rows, settings),
        **_language_models(rows),
        **alignment_values(rows, settings),
        **query_values(rows, settings),
        "few": _axis(rows, settings, "comparisons"),
        "few_accuracy": _axis(rows, settings, "comparisons", "accuracy"),
        **{
            name: gates(rows, settings, coefficient)
            for name, coefficient in (("gates", 2.0), ("gates_small", 0.1), ("gates_control", 0.0))
        },
        "few_probe": Shown(weight_probe(rows, settings)),
        "golden_weight": numbers(golden_weights(settings)),
        "size": _axis(rows, settings, "model_size"),
        "size_ece": _axis(rows, settings, "model_size", "ece"),
        **_further(rows, settings),
        "transfer": by_name(transfer_results(transfer, settings.transfer.coefficients)),
        "hours": hours_of("1B") | hours_of("7B"),
    }


def _question(rows: Sequence[Row]) -> dict[str, Any]:
    played = [result for result in question_results(rows).values() if result]
    corrected = holm([result.p for result in played])
    llm = [result.p for result in played[1:]]
    return {
        "question": by_name(question_results(rows)),
        "pooled": Shown(pooled_llm(rows)),
        "pooled_score": Shown(pooled_llm(rows, "llm_score")),
        "holm_low": Number(min(corrected, default=None)),
        "holm_high": Number(max(corrected, default=None)),
        "llm_p_low": Number(min(llm, default=None)),
        "llm_p_high": Number(max(llm, default=None)),
        "uncorrected": "; ".join(
            f"{name} (p {p_text(result.p)})"
            for name, result in question_results(rows).items()
            if result and result.p <= LEVEL
        )
        or "none",
        "cells_ahead": sum(result.difference > 0 for result in played[1:]),
    }


def _sweep(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    sweep = {name: apo_minus_base(games, "chosen") for _, name, games in settings_of_sweep(rows, settings)}
    played = {name: result for name, result in sweep.items() if result}
    corrected = dict(zip(played, holm([result.p for result in played.values()]), strict=True))
    controls = control_results(rows, settings, "chosen")
    tested = {name: result for name, result in controls.items() if result}
    control_holm = dict(zip(tested, holm([result.p for result in tested.values()]), strict=True))
    fresh = confirmation_results(rows, settings)
    fresh_holm = dict(zip(fresh, holm([result.p for result in fresh.values()]), strict=True))
    large = {key[1:]: p for key, p in fresh_holm.items() if key[0] == "coeff 2"}
    undecided = [
        f"{RM_MEASURES[measure]} over the {control} (Holm {p_text(p)})"
        for (measure, control), p in large.items()
        if p > LEVEL
    ]
    baseline = games_of(rows, "method", "rjs")
    other = [
        difference(games, gain("chosen", "r1"), baseline, gain("chosen", "r1"))
        for family, _, games in settings_of_sweep(rows, settings)
        if family in ("samples", "label noise", "actor") and _codes(games) == _codes(baseline)
    ]
    other_p = [result.p for result in other if result]
    positive = [slope > 0 for slope in slopes(by_coefficient(rows), of_arm("chosen", "r1", APO)).values()]
    return {
        "chosen": by_name(sweep),
        "chosen_holm": numbers(corrected),
        "settings": len(played),
        "control": by_name(controls),
        "control_accuracy": by_name(control_results(rows, settings, "accuracy")),
        "control_holm": numbers(control_holm),
        "control_stand": ", ".join(name for name, p in control_holm.items() if p <= 0.05) or "none",
        "fresh": by_name({" ".join(key[1:]): result for key, result in fresh.items() if key[0] == "coeff 2"}),
        "fresh_control": by_name(
            {measure: result for (name, measure, _), result in fresh.items() if name == CONTROL}
        ),
        "fresh_stand": f"{len(large) - len(undecided)} of {len(large)}",
        "fresh_open": ", ".join(undecided) or "none",
        "fresh_tests": len(fresh),
        "other_p_low": Number(min(other_p, default=None)),
        "other_p_high": Number(max(other_p, default=None)),
        "trend": by_name(coefficient_steps(rows)),
        "trend_positive": f"{sum(positive)} of {len(positive)}",
    }


def _language_models(rows: Sequence[Row]) -> dict[str, Any]:
    by_method = {method: games_of(rows, "method", method) for method in METHODS}
    rounds = {
        method: difference(games, of_arm("accuracy", "r2", APO), games, of_arm("accuracy", "r1", APO))
        for method, games in by_method.items()
    }
    names = [f"{method} {round[1:]}" for method, round in CELLS]
    results = {
        name: apo_minus_base(by_method[method], "llm_true_reward", round)
        for name, (method, round) in zip(names, CELLS, strict=True)
    }
    spreads = [result.spread for result in results.values() if result]
    rrhf = by_method["rrhf"].values()
    gain_in_round_two = gain("llm_true_reward", "r2")
    low, high = cell_correlations(rows)
    return {
        "llm": by_name(results),
        "score": by_name(
            {method: apo_minus_base(games, "llm_score", "r2") for method, games in by_method.items()}
        ),
        "rounds": by_name(rounds),
        "correlation_low": Number(low),
        "correlation_high": Number(high),
        "rrhf_ahead": f"{sum(gain_in_round_two(game) > 0 for game in rrhf)} of {len(rrhf)}",
        "llm_spread_low": Number(min(spreads, default=None)),
        "llm_spread_high": Number(max(spreads, default=None)),
    }


def _axis(
    rows: Sequence[Row], settings: Settings, kind: Axis, measure: str = "chosen"
) -> Mapping[str, Shown]:
    """Gains of an RM: `0.1 240` over coeff 0, `0.1 240 base` over the base RM; `0.1 slope` of the choice."""
    axis: AxisSet = getattr(settings, kind)
    shown: dict[str, Paired | None] = {}
    for coefficient in axis.coefficients:
        name = f"{coefficient:g}"
        shown[f"{name} slope"] = axis_slope(rows, kind, axis, coefficient)
        for value, (over_base, over_control) in axis_results(rows, kind, axis, coefficient, measure).items():
            shown |= {f"{name} {value} base": over_base, f"{name} {value}": over_control}
    return by_name(shown)


def _further(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    baseline = games_of(rows, "method", "rjs")
    ordinary, half = (
        games_of(rows, "sweep", f"{part} of them by ordinary writers") for part in ("all", "half")
    )
    chosen = of_arm("chosen", "r1", APO)
    coeff_two = [row for row in rows if row["name"] == "coeff 2" and row["kind"] in ("sweep", "confirmation")]
    gail = list(games_of(rows, "sweep", "GAIL (kl_coeff 0)").values())
    verdicts = [claim.verdict for claim in claims(rows)]
    spreads = spread_factors(len(settings.seeds))
    return {
        "accuracy": Shown(apo_minus_base(baseline, "accuracy")),
        "ece": Shown(apo_minus_base(baseline, "ece")),
        "ece_at": numbers(_mean_ece(rows)),
        "ece_steps": by_name(coefficient_steps(rows, "ece")),
        "distance": numbers(distances(rows, settings)),
        "ece_choice": Shown(ece_and_choice(rows)),
        "ece_choice_holm": Number(claims_holm(rows).get(ECE_AND_CHOICE)),
        "gail_chosen": Shown(apo_minus_base({row["seed"]: row for row in gail}, "chosen")),
        "ordinary_contrast": Shown(difference(baseline, chosen, ordinary, chosen)),
        "gate_two": gate_text(coeff_two),
        "gate_gail": gate_text(gail),
        "best_accuracy": Number(_mean_start(baseline.values(), "best_accuracy")),
        "golden_better": Number(_mean_start(baseline.values(), "golden_better")),
        "ordinary_better": Number(_mean_start(ordinary.values(), "golden_better")),
        "half_better": Number(_mean_start(half.values(), "golden_better")),
        "few_steps": _few_steps(settings),
        "verdicts": {name: verdicts.count(name) for name in (HOLDS, SMALLER, FAILS, OPEN)},
        "claims": len(verdicts),
        "spread_low": Number(spreads[0]),
        "spread_high": Number(spreads[1]),
        "games": len(rows),
    }


def _codes(games: Games) -> set[str | None]:
    """The code with which games were played: with another one, the same seed gives other models."""
    return {row.get("code") for row in games.values()}


def gate_text(rows: Sequence[Row]) -> str:
    """The number of APO RMs of round one whose ECE on valid passes the gate."""
    values = [row["pairs"]["r1"]["valid_ece"][APO] for row in rows]
    return f"{sum(ece <= ECE_LIMIT for ece in values)} of {len(values)}"


def gates(rows: Sequence[Row], settings: Settings, coefficient: float) -> dict[int, str]:
    """As `gate_text`, by the number of human comparisons."""
    axis = settings.comparisons
    names = {value: axis_name(axis, value, coefficient) for value in axis.values}
    return {
        value: gate_text(list(games_of(rows, "comparisons", name).values())) for value, name in names.items()
    }


def distances(rows: Sequence[Row], settings: Settings) -> dict[str, float | None]:
    """By setting of the sweep, the true reward of golden answers minus that of the samples, mean of seeds."""
    return {
        name: fmean(
            game["start"]["golden_golden"] - game["start"]["golden_sample"] for game in games.values()
        )
        if games
        else None
        for _, name, games in settings_of_sweep(rows, settings)
    }


def cell_correlations(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """The lowest and the highest correlation over seeds between two of the six LLM differences."""
    cells = [(games_of(rows, "method", method), gain("llm_true_reward", round)) for method, round in CELLS]
    shared = shared_seeds([games for games, _ in cells])
    if len(shared) < 3:
        return None, None
    series = [[value(games[seed]) for seed in shared] for games, value in cells]
    correlations = [float(np.corrcoef(first, second)[0, 1]) for first, second in combinations(series, 2)]
    return min(correlations), max(correlations)


def _mean_ece(rows: Sequence[Row]) -> dict[str, float | None]:
    return {
        f"coeff {coefficient:g}": fmean(of_arm("ece", "r1", APO)(game) for game in games.values())
        if games
        else None
        for coefficient, games in by_coefficient(rows).items()
    }


def _mean_start(games: Any, name: str) -> float | None:
    values = [game["start"][name] for game in games]
    return fmean(values) if values else None


def _few_steps(settings: Settings) -> int:
    """The optimizer steps of a base RM with few human comparisons, in batches of 16."""
    changes = next(setting.changes for setting in settings.sweep if setting.family == "human comparisons")
    comparisons = settings.baseline["data.demo.comparisons"] * changes["split.rm_fraction"]
    return int(comparisons // 16)
