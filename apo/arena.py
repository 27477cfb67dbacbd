"""Language models held against each other on the same queries, by a judge and by the truth."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from apo.errors import UserError
from apo.intervals import paired_bootstrap, sign_test, win_tie_lose
from apo.records import Row


def with_true_rewards(rows: Sequence[Row]) -> list[Row]:
    """Answers with the demo world's `true_rewards` of their samples."""
    from apo.world import true_reward

    return [
        {**row, "true_rewards": [true_reward(row["query"], text) for text in row["samples"]]} for row in rows
    ]


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """Means over queries: the judge's score, the true reward where it is there, words, blank answers."""
    texts = [text for row in rows for text in row["samples"]]
    found = {
        "queries": len(rows),
        "score_mean": fmean(fmean(row["scores"]) for row in rows),
        "words_mean": fmean(len(text.split()) for text in texts),
        "blank": sum(not text for text in texts),
        "distinct": len(set(texts)) / len(texts),
    }
    if "true_rewards" in rows[0]:
        found["true_reward_mean"] = fmean(fmean(row["true_rewards"]) for row in rows)
    return found


def compare_all(arms: Mapping[str, Sequence[Row]], *, seed: int, resamples: int) -> dict[str, Any]:
    """Every pair of language models: `LATER_vs_EARLIER`, by the judge's score and by the true reward."""
    found: dict[str, Any] = {}
    for earlier, later in combinations(arms, 2):
        for key, name in (("scores", "score"), ("true_rewards", "true_reward")):
            if key in arms[earlier][0] and key in arms[later][0]:
                first = [fmean(row[key]) for row in arms[later]]
                second = [fmean(row[key]) for row in arms[earlier]]
                duel = compare(first, second, seed=seed, resamples=resamples)
                found.setdefault(f"{later}_vs_{earlier}", {})[name] = duel
    return found


def compare(
    first: Sequence[float], second: Sequence[float], *, seed: int, resamples: int
) -> dict[str, float]:
    """The first against the second, query by query.

    Args:
        first: One number a query.
        second: One number a query, same order.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        `difference`, the mean of first - second, with its paired bootstrap 95 % interval `low` to `high`;
        `win`, `tie` and `lose`, counts; `sign_test_p`, absent where there are ties only.
    """
    low, high = paired_bootstrap(first, second, seed=seed, resamples=resamples)
    record = win_tie_lose(first, second)
    found = {
        "difference": fmean(a - b for a, b in zip(first, second, strict=True)),
        "low": low,
        "high": high,
        **record._asdict(),
    }
    if record.win + record.lose:
        found["sign_test_p"] = sign_test(record.win, record.lose)
    return found


def selection_truth(base: Sequence[Row], apo: Sequence[Row], *, seed: int, resamples: int) -> dict[str, Any]:
    """True reward of the responses that each RM chose from the same samples, demo world only.

    `random` is the mean over the samples and `best` their maximum: what a choice can gain.

    Raises:
        UserError: The two share no query, or one only.
    """
    from apo.world import true_reward

    chosen_by_apo = {row["query_id"]: row for row in apo}
    both = [(row, chosen_by_apo[row["query_id"]]) for row in base if row["query_id"] in chosen_by_apo]
    if not both:
        raise UserError(
            "selections of the two RMs",
            found="no query that both have",
            expected="selections from the same samples",
            do="look at `selected` and `samples_blank` in the metrics of stage rjs",
        )
    every = [[true_reward(row["query"], text) for text in row["samples"]] for row, _ in both]
    of_base = [rewards[row["target_index"]] for rewards, (row, _) in zip(every, both, strict=True)]
    of_apo = [rewards[row["target_index"]] for rewards, (_, row) in zip(every, both, strict=True)]
    return {
        "queries": len(both),
        "random": fmean(fmean(rewards) for rewards in every),
        "best": fmean(max(rewards) for rewards in every),
        "base": fmean(of_base),
        "apo": fmean(of_apo),
        "same_choice": fmean(a["target_index"] == b["target_index"] for a, b in both),
        "apo_vs_base": compare(of_apo, of_base, seed=seed, resamples=resamples),
    }
