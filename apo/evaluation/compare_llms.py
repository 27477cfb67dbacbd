"""Language models compared on the same queries, by the testing RM and by the true reward."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.evaluation.paired import paired_means
from apo.metrics.statistics import (
    mean_interval,
    paired_bootstrap,
    rank_correlation,
    sign_test,
    win_tie_lose,
)

TIE = 1e-5  # more than the rounding differences of a reward between batches and numbers of processes


def with_true_rewards(rows: Sequence[Row]) -> list[Row]:
    """Adds `true_rewards`, the demo world's rewards of the samples, to answers."""
    from apo.demo import true_reward

    return [
        {**row, "true_rewards": [true_reward(row["query"], sample) for sample in row["samples"]]}
        for row in rows
    ]


def summarize(rows: Sequence[Row], *, seed: int, resamples: int) -> dict[str, float]:
    """The metrics of one language model: rewards, KL and text statistics of its answers.

    Returns:
        `queries`; `score_mean` by the testing RM with its bootstrap 95 % interval over queries, `score_low`
        to `score_high`; `true_reward_mean`, if it is known; `kl_mean` (nats per answer) and `kl_per_token` to
        the first actor, if they were measured; and `text_statistics`.
    """
    scores = [fmean(row["scores"]) for row in rows]
    low, high = mean_interval(scores, seed=seed, resamples=resamples)
    metrics = {
        "queries": len(rows),
        "score_mean": fmean(scores),
        "score_low": low,
        "score_high": high,
        **text_statistics([text for row in rows for text in row["samples"]]),
    }
    if "true_rewards" in rows[0]:
        metrics["true_reward_mean"] = fmean(fmean(row["true_rewards"]) for row in rows)
    if "kl" in rows[0]:
        metrics["kl_mean"] = fmean(fmean(row["kl"]) for row in rows)
        metrics["kl_per_token"] = sum(sum(row["kl"]) for row in rows) / sum(
            sum(row["tokens"]) for row in rows
        )
    return metrics


def text_statistics(texts: Sequence[str]) -> dict[str, float]:
    """Length, diversity and repetition of answers, which reveal a reward gained by length or repetition.

    Returns:
        `words_mean`; `blank`, the number of answers without text; `distinct`, the fraction of distinct
        answers; `distinct_1` and `distinct_2`, the fraction of distinct words and word pairs (Li et al.,
        2016; absent if there are none); `repetition`, the fraction of word 3-grams that occur earlier in the
        answer, mean over answers of at least three words (absent if there are none).

    >>> text_statistics(["a b a b a b", "a b c"])["repetition"]  # half of 4 in the first, none in the second
    0.25
    """
    answers = [text.split() for text in texts]
    metrics: dict[str, float] = {
        "words_mean": fmean(map(len, answers)),
        "blank": sum(not words for words in answers),
        "distinct": len(set(texts)) / len(texts),
    }
    for size in (1, 2):
        grams = [gram for words in answers for gram in _grams(words, size)]
        if grams:
            metrics[f"distinct_{size}"] = len(set(grams)) / len(grams)
    repeated = [1 - len(set(grams)) / len(grams) for words in answers if (grams := _grams(words, 3))]
    if repeated:
        metrics["repetition"] = fmean(repeated)
    return metrics


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def compare_all(
    arms: Mapping[str, Sequence[Row]], *, exclude: Collection[str], seed: int, resamples: int
) -> dict[str, Any]:
    """Compares every pair of language models, `LATER_vs_EARLIER`, by the score and by the true reward.

    Args:
        arms: Answers to the same queries in the same order, by the name of their model.
        exclude: Names that are not compared with each other, since an earlier round has compared them.

    Raises:
        UserError: Two of them answered different queries.
    """
    comparisons: dict[str, Any] = {}
    queries = {name: [row["query_id"] for row in rows] for name, rows in arms.items()}
    for earlier, later in combinations(arms, 2):
        if earlier in exclude and later in exclude:
            continue
        if queries[earlier] != queries[later]:
            raise UserError(
                f"answers of {earlier} and {later}",
                found="other queries, or another order",
                expected="answers to the same queries",
                do="run `dvc repro`, which makes both anew",
            )
        for key, name in (("scores", "score"), ("true_rewards", "true_reward")):
            if key in arms[earlier][0] and key in arms[later][0]:
                first, second = paired_means(arms[later], arms[earlier], key)
                comparison = compare(first, second, seed=seed, resamples=resamples)
                comparisons.setdefault(f"{later}_vs_{earlier}", {})[name] = comparison
    return comparisons


def compare(
    first: Sequence[float], second: Sequence[float], *, seed: int, resamples: int
) -> dict[str, float]:
    """Compares first with second, query by query.

    Args:
        first, second: One number per query, in the same order.

    Returns:
        `difference`, the mean of first - second, with its paired bootstrap 95 % interval `low` to `high`;
        `win`, `tie` (a difference of at most `TIE`) and `lose`, counts; `win_rate`, where a tie counts half,
        with its interval `win_rate_low` to `win_rate_high`; `sign_test_p`, absent if all are ties.
    """
    low, high = paired_bootstrap(first, second, seed=seed, resamples=resamples)
    outcomes = win_tie_lose(first, second, tie=TIE)
    comparison = {
        "difference": fmean(a - b for a, b in zip(first, second, strict=True)),
        "low": low,
        "high": high,
        **outcomes._asdict(),
        **_win_rate(first, second, seed=seed, resamples=resamples),
    }
    if outcomes.win + outcomes.lose:
        comparison["sign_test_p"] = sign_test(outcomes.win, outcomes.lose)
    return comparison


def _win_rate(
    first: Sequence[float], second: Sequence[float], *, seed: int, resamples: int
) -> dict[str, float]:
    win_scores = [0.5 * ((a - b > TIE) - (b - a > TIE)) + 0.5 for a, b in zip(first, second, strict=True)]
    low, high = mean_interval(win_scores, seed=seed, resamples=resamples)
    return {"win_rate": fmean(win_scores), "win_rate_low": low, "win_rate_high": high}


def chosen_truth(selections: Mapping[str, Sequence[Row]], *, seed: int, resamples: int) -> dict[str, Any]:
    """True reward of the samples that each arm's RM chose from its own LLM; demo world only.

    Args:
        selections: Rows of stage rjs of the arms `base` and `apo`.

    Returns:
        For each arm `chosen`, the mean true reward of the chosen responses; `random`, that of all samples;
        `best`, that of the best sample of each query; `share_of_best`, (chosen - random) / (best - random),
        absent if best equals random; `tau`, the mean over queries of Kendall's tau-b between rewards and true
        rewards of the samples (a query is left out if all values of one of the two are equal).
        `apo_vs_base` compares the chosen responses; `queries` is the number of queries that both arms have.

    Raises:
        UserError: The two arms share no query.
    """
    metrics: dict[str, Any] = {}
    chosen: dict[str, dict[str, float]] = {}
    for arm, rows in selections.items():
        rated_rows = with_true_rewards(rows)
        chosen[arm] = {row["query_id"]: row["true_rewards"][row["target_index"]] for row in rated_rows}
        metrics[arm] = _choice_metrics(rated_rows)
    query_ids = [query_id for query_id in chosen["base"] if query_id in chosen["apo"]]
    if not query_ids:
        raise UserError(
            "selections of the two RMs",
            found="no query that both have",
            expected="selections for the same queries",
            do="look at `selected` and `samples_blank` in the metrics of stage rjs",
        )
    metrics["queries"] = len(query_ids)
    apo_rewards = [chosen["apo"][query_id] for query_id in query_ids]
    base_rewards = [chosen["base"][query_id] for query_id in query_ids]
    metrics["apo_vs_base"] = compare(apo_rewards, base_rewards, seed=seed, resamples=resamples)
    return metrics


def _choice_metrics(rows: Sequence[Row]) -> dict[str, float]:
    chosen = fmean(row["true_rewards"][row["target_index"]] for row in rows)
    random = fmean(fmean(row["true_rewards"]) for row in rows)
    best = fmean(max(row["true_rewards"]) for row in rows)
    metrics = {"chosen": chosen, "random": random, "best": best}
    if best > random:
        metrics["share_of_best"] = (chosen - random) / (best - random)
    taus = [tau for row in rows if (tau := rank_correlation(row["scores"], row["true_rewards"])) is not None]
    return metrics | ({"tau": fmean(taus)} if taus else {})
