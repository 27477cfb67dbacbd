"""What is read off a played game: its metrics, and what they do not say of the chosen responses."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from apo.core.records import Row, read_rows
from apo.demo.language import words
from apo.demo.parse_queries import parse_query
from apo.demo.reward import components
from apo.evaluation.compare_llms import chosen_truth, with_true_rewards

ARMS = ("base", "apo")
RESAMPLES = 100  # of intervals over queries, which the study does not use: its unit is the seed


def facts(copy: Path) -> dict[str, Any]:
    """All facts of a game.

    Returns:
        `metrics`, the metrics files of the game as one mapping, without the curves and the counts of
        findings; `selection`, `chosen_truth` of round one with the points of the chosen responses by
        component of the true reward; `golden`, what the golden answers of the RM queries and the actor's
        samples to them are worth; `answers`, the points of the answers of each LLM to the test queries.
    """
    found: dict[str, Any] = {"metrics": {}}
    for path in sorted((copy / "metrics").rglob("*.json")):
        found["metrics"] |= json.loads(path.read_text(encoding="utf-8"))
    chosen = {arm: list(read_rows(copy / f"data/rjs/r1/{arm}.jsonl")) for arm in ARMS}
    found["selection"] = chosen_truth(chosen, seed=1, resamples=RESAMPLES)
    for arm, rows in chosen.items():
        found["selection"][arm]["points"] = points(
            (row["query"], row["samples"][row["target_index"]]) for row in rows
        )
    found["golden"] = golden_against_samples(list(read_rows(copy / "data/apo/r1.jsonl")))
    found["answers"] = {}
    for path in sorted((copy / "data/answers").glob("*/*/*.jsonl")):
        name = f"{path.parent.name}_{path.parent.parent.name}"
        found["answers"][name] = points((row["query"], row["samples"][0]) for row in read_rows(path))
    return found


def points(answers: Iterable[tuple[str, str]]) -> dict[str, float]:
    """The mean points of answers by component of the true reward.

    An answer without a word has no points and is counted, `blank`.
    """
    rows, blank = [], 0
    for query, text in answers:
        if words(text):
            rows.append(components(parse_query(query), text))
        else:
            blank += 1
    means = {name: fmean(row[name] for row in rows) for name in rows[0]} if rows else {}
    return means | {"blank": blank}


def golden_against_samples(items: list[Row]) -> dict[str, float]:
    """How much better golden answers are than the actor's samples, by the true reward.

    Returns:
        `golden` and `sample`, mean true rewards; `better`, `equal` and `worse`, parts of the pairs
        golden > sample in which the golden answer is so.
    """
    rows = with_true_rewards([{**row, "samples": row["responses"]} for row in items])
    signs = [
        (row["true_rewards"][0] > one) - (row["true_rewards"][0] < one)
        for row in rows
        for one in row["true_rewards"][1:]
    ]
    return {
        "golden": fmean(row["true_rewards"][0] for row in rows),
        "sample": fmean(one for row in rows for one in row["true_rewards"][1:]),
        "better": signs.count(1) / len(signs),
        "equal": signs.count(0) / len(signs),
        "worse": signs.count(-1) / len(signs),
    }
