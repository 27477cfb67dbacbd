"""The results of a played game: its metrics, and further statistics of the chosen responses."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from apo.core.records import Row, read_rows
from apo.demo.language import words
from apo.demo.parse_queries import parse_query
from apo.demo.reward import components
from apo.evaluation.compare_llms import chosen_truth, with_true_rewards
from apo.selection import rank_by_reward
from study.pipeline import ARMS, adversarial_file, answer_files, read_metrics, selected_file

FEWER = (2, 3)
"""Numbers of samples that a choice is repeated among."""
RESAMPLES = 100  # of intervals over queries, which the study ignores: its unit is the seed


def collect(copy: Path) -> dict[str, Any]:
    """The results that are kept of a game.

    Returns:
        `metrics`, the metrics files of the game as one mapping; `selection`, `chosen_truth` of round one
        with the points of the chosen responses by component of the true reward, and `chosen_of_2` and
        `chosen_of_3`, see `chosen_of`; `golden`, see
        `golden_against_samples`; `answers`, the points of the answers of each LLM to the test queries.
    """
    chosen = {arm: list(read_rows(selected_file(copy, arm))) for arm in ARMS}
    selection = chosen_truth(chosen, seed=1, resamples=RESAMPLES)
    for arm, rows in chosen.items():
        selection[arm]["points"] = points((row["query"], row["samples"][row["target_index"]]) for row in rows)
        selection[arm] |= {f"chosen_of_{samples}": chosen_of(rows, samples) for samples in FEWER}
    return {
        "metrics": read_metrics(copy),
        "selection": selection,
        "golden": golden_against_samples(list(read_rows(adversarial_file(copy)))),
        "answers": {
            name: points((row["query"], row["samples"][0]) for row in read_rows(path))
            for name, path in answer_files(copy).items()
        },
    }


def chosen_of(rows: Sequence[Row], samples: int) -> float:
    """The true reward of what the RM chooses among `samples` of the samples of a query.

    The mean over queries and over all ways to leave out the others. With the m samples that are not blank
    ordered by reward, the i-th (from 0) is chosen in C(m - 1 - i, samples - 1) of C(m, samples) ways. Of a
    query with fewer samples the best of them is chosen.
    """
    means = []
    for row in with_true_rewards(rows):
        order = rank_by_reward(row["samples"], row["scores"])
        drawn = min(samples, len(order))
        ways = [math.comb(len(order) - 1 - rank, drawn - 1) for rank in range(len(order))]
        total = sum(way * row["true_rewards"][index] for way, index in zip(ways, order, strict=True))
        means.append(total / sum(ways))
    return fmean(means)


def points(answers: Iterable[tuple[str, str]]) -> dict[str, float]:
    """The mean points of answers by component of the true reward.

    An answer without words has no points; `blank` counts them.
    """
    scored, blank = [], 0
    for query, text in answers:
        if words(text):
            scored.append(components(parse_query(query), text))
        else:
            blank += 1
    means = {name: fmean(row[name] for row in scored) for name in scored[0]} if scored else {}
    return means | {"blank": blank}


def golden_against_samples(response_sets: list[Row]) -> dict[str, float]:
    """How much better golden answers are than the actor's samples, by the true reward.

    Returns:
        `golden` and `sample`, mean true rewards; `better`, `equal` and `worse`, the fractions of the pairs
        golden > sample in which the golden answer has a higher, equal or lower true reward.
    """
    rows = with_true_rewards([{**row, "samples": row["responses"]} for row in response_sets])
    signs = [
        (row["true_rewards"][0] > sample) - (row["true_rewards"][0] < sample)
        for row in rows
        for sample in row["true_rewards"][1:]
    ]
    return {
        "golden": fmean(row["true_rewards"][0] for row in rows),
        "sample": fmean(sample for row in rows for sample in row["true_rewards"][1:]),
        "better": signs.count(1) / len(signs),
        "equal": signs.count(0) / len(signs),
        "worse": signs.count(-1) / len(signs),
    }
