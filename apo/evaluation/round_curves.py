"""The language models of the game round by round, for plots."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from apo.core.records import Row
from apo.metrics.statistics import mean_interval

ROUND_LLM = re.compile(r"llm_(base|apo)_(.+)")
START = "r0"


def round_rows(arms: Mapping[str, Sequence[Row]], *, seed: int, resamples: int) -> list[Row]:
    """Mean rewards of every language model's answers by round and arm.

    Args:
        arms: Answers by the name of their model: `actor`, `golden`, `llm_base_ROUND`, `llm_apo_ROUND`.

    Returns:
        For every round and arm `round`, `arm`, `llm`; `score`, the mean reward by the testing RM, with its
        bootstrap 95 % interval over queries `score_low` to `score_high`; and the same of `true_reward`, if it
        is known. The actor is round `r0` of both arms; the golden answers are in every round.
    """
    matches = map(ROUND_LLM.fullmatch, arms)
    rounds = dict.fromkeys([START, *(match[2] for match in matches if match)])
    means = {name: _mean_rewards(rows, seed=seed, resamples=resamples) for name, rows in arms.items()}
    rows = []
    for round in rounds:
        for arm in ("base", "apo"):
            name = "actor" if round == START else f"llm_{arm}_{round}"
            if name in arms:
                rows.append({"round": round, "arm": arm, "llm": name, **means[name]})
        if "golden" in arms:
            rows.append({"round": round, "arm": "golden", "llm": "golden", **means["golden"]})
    return rows


def _mean_rewards(rows: Sequence[Row], *, seed: int, resamples: int) -> Row:
    means: Row = {}
    for key, name, interval_name in (("scores", "score", "score"), ("true_rewards", "true_reward", "true")):
        if key in rows[0]:
            values = [fmean(row[key]) for row in rows]
            low, high = mean_interval(values, seed=seed, resamples=resamples)
            means |= {name: fmean(values), f"{interval_name}_low": low, f"{interval_name}_high": high}
    return means
