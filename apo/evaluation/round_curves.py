"""The language models of the game round by round, for plots."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from apo.core.records import Row
from apo.metrics.statistics import paired_bootstrap

OF_A_ROUND = re.compile(r"llm_(base|apo)_(.+)")
START = "r0"


def round_rows(arms: Mapping[str, Sequence[Row]], *, seed: int, resamples: int) -> list[Row]:
    """What every language model's answers are worth, by the testing RM and, in the demo, by the truth.

    Args:
        arms: Answers by the name of their model: `actor`, `golden`, `llm_base_ROUND`, `llm_apo_ROUND`.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        For every round and arm `round`, `arm`, `llm`, `score` by the testing RM with its bootstrap 95 %
        interval over queries `score_low` to `score_high`, and the same of `true_reward` where it is known.
        The actor is `r0` of both arms, the golden answers stand in every round.
    """
    places = {name: found.groups() for name in arms if (found := OF_A_ROUND.fullmatch(name))}
    rounds = list(dict.fromkeys([START, *(round for _, round in places.values())]))
    worth = {name: _worth(rows, seed=seed, resamples=resamples) for name, rows in arms.items()}
    rows = []
    for round in rounds:
        for arm in ("base", "apo"):
            name = "actor" if round == START else f"llm_{arm}_{round}"
            if name in arms:
                rows.append({"round": round, "arm": arm, "llm": name, **worth[name]})
        if "golden" in arms:
            rows.append({"round": round, "arm": "golden", "llm": "golden", **worth["golden"]})
    return rows


def _worth(rows: Sequence[Row], *, seed: int, resamples: int) -> Row:
    found: Row = {}
    for key, name, short in (("scores", "score", "score"), ("true_rewards", "true_reward", "true")):
        if key in rows[0]:
            values = [fmean(row[key]) for row in rows]
            low, high = paired_bootstrap(values, [0.0] * len(values), seed=seed, resamples=resamples)
            found |= {name: fmean(values), f"{short}_low": low, f"{short}_high": high}
    return found
