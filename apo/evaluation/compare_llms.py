"""Language models compared on the same queries, by the testing RM and by the true reward."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.metrics.statistics import paired_bootstrap, rank_correlation, sign_test, win_tie_lose

TIE = 1e-5  # rewards of one text differ by less, whatever batch or number of processes computed them


def with_true_rewards(rows: Sequence[Row]) -> list[Row]:
    """Answers with the demo world's `true_rewards` of their samples."""
    from apo.demo import true_reward

    return [
        {**row, "true_rewards": [true_reward(row["query"], text) for text in row["samples"]]} for row in rows
    ]


def summarize(rows: Sequence[Row], *, seed: int, resamples: int) -> dict[str, float]:
    """One language model: what its answers are worth, and what they look like.

    Returns:
        `score_mean` by the judge with its bootstrap 95 % interval over queries, `true_reward_mean` where it
        is known, `kl_mean` (nats an answer) and `kl_per_token` to the first actor where they were measured,
        and what `text_statistics` gives.
    """
    scores = [fmean(row["scores"]) for row in rows]
    low, high = paired_bootstrap(scores, [0.0] * len(scores), seed=seed, resamples=resamples)
    found = {
        "queries": len(rows),
        "score_mean": fmean(scores),
        "score_low": low,
        "score_high": high,
        **text_statistics([text for row in rows for text in row["samples"]]),
    }
    if "true_rewards" in rows[0]:
        found["true_reward_mean"] = fmean(fmean(row["true_rewards"]) for row in rows)
    if "kl" in rows[0]:
        found["kl_mean"] = fmean(fmean(row["kl"]) for row in rows)
        found["kl_per_token"] = sum(sum(r["kl"]) for r in rows) / sum(sum(r["tokens"]) for r in rows)
    return found


def text_statistics(texts: Sequence[str]) -> dict[str, float]:
    """Length and sameness, in which a reward that was won by them would show.

    Returns:
        `words_mean`; `blank`, answers without text; `distinct`, different answers over answers; `distinct_1`
        and `distinct_2`, different words and pairs of words over all of them (Li et al., 2016; absent where
        there are none); `repetition`, the mean over answers of at least three words of the share of word
        3-grams that stood in the answer before (absent where there are none).

    >>> text_statistics(["a b a b a b", "a b c"])["repetition"]  # half of 4 in the first, none in the second
    0.25
    """
    words = [text.split() for text in texts]
    found: dict[str, float] = {
        "words_mean": fmean(map(len, words)),
        "blank": sum(not one for one in words),
        "distinct": len(set(texts)) / len(texts),
    }
    for size in (1, 2):
        grams = [gram for one in words for gram in _grams(one, size)]
        if grams:
            found[f"distinct_{size}"] = len(set(grams)) / len(grams)
    repeated = [1 - len(set(grams)) / len(grams) for one in words if (grams := _grams(one, 3))]
    if repeated:
        found["repetition"] = fmean(repeated)
    return found


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def compare_all(
    arms: Mapping[str, Sequence[Row]], *, but: Collection[str], seed: int, resamples: int
) -> dict[str, Any]:
    """Every pair of language models: `LATER_vs_EARLIER`, by the judge's score and by the true reward.

    Args:
        arms: Answers to the same queries, in their order.
        but: Language models of which no two are compared with each other: an earlier round did it.

    Raises:
        UserError: Two of them answered other queries.
    """
    found: dict[str, Any] = {}
    queries = {name: [row["query_id"] for row in rows] for name, rows in arms.items()}
    for earlier, later in combinations(arms, 2):
        if earlier in but and later in but:
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
        `win`, `tie` (a difference of at most `TIE`) and `lose`, counts; `win_rate`, a tie counts half, with
        its interval `win_rate_low` to `win_rate_high`; `sign_test_p`, absent where there are ties only.
    """
    low, high = paired_bootstrap(first, second, seed=seed, resamples=resamples)
    record = win_tie_lose(first, second, tie=TIE)
    found = {
        "difference": fmean(a - b for a, b in zip(first, second, strict=True)),
        "low": low,
        "high": high,
        **record._asdict(),
        **_win_rate(first, second, seed=seed, resamples=resamples),
    }
    if record.win + record.lose:
        found["sign_test_p"] = sign_test(record.win, record.lose)
    return found


def _win_rate(
    first: Sequence[float], second: Sequence[float], *, seed: int, resamples: int
) -> dict[str, float]:
    won = [0.5 * ((a - b > TIE) - (b - a > TIE)) + 0.5 for a, b in zip(first, second, strict=True)]
    low, high = paired_bootstrap(won, [0.0] * len(won), seed=seed, resamples=resamples)
    return {"win_rate": fmean(won), "win_rate_low": low, "win_rate_high": high}


def chosen_truth(selections: Mapping[str, Sequence[Row]], *, seed: int, resamples: int) -> dict[str, Any]:
    """How well each arm's RM chose among the samples of its own LLM, by the true reward; demo world only.

    Args:
        selections: Rows of stage rjs of the arms `base` and `apo`.

    Returns:
        For each arm `chosen`, the mean true reward of the chosen responses; `random`, that of all samples,
        and `best`, that of the best of each query: what a choice can gain; `share_of_best`, how much of the
        way from random to best it went, absent where there is none; `tau`, the mean over queries of Kendall's
        tau-b between rewards and true rewards of the samples (a query where one of the two is all equal has
        none). `apo_vs_base` compares what was chosen, `queries` counts the queries that both arms have.

    Raises:
        UserError: The two share no query.
    """
    found: dict[str, Any] = {}
    chosen: dict[str, dict[str, float]] = {}
    for arm, rows in selections.items():
        true = with_true_rewards(rows)
        chosen[arm] = {row["query_id"]: row["true_rewards"][row["target_index"]] for row in true}
        found[arm] = _one_choice(true)
    both = [query_id for query_id in chosen["base"] if query_id in chosen["apo"]]
    if not both:
        raise UserError(
            "selections of the two RMs",
            found="no query that both have",
            expected="selections for the same queries",
            do="look at `selected` and `samples_blank` in the metrics of stage rjs",
        )
    found["queries"] = len(both)
    of_apo, of_base = ([chosen[arm][query_id] for query_id in both] for arm in ("apo", "base"))
    found["apo_vs_base"] = compare(of_apo, of_base, seed=seed, resamples=resamples)
    return found


def _one_choice(rows: Sequence[Row]) -> dict[str, float]:
    chosen = fmean(row["true_rewards"][row["target_index"]] for row in rows)
    random = fmean(fmean(row["true_rewards"]) for row in rows)
    best = fmean(max(row["true_rewards"]) for row in rows)
    found = {"chosen": chosen, "random": random, "best": best}
    if best > random:
        found["share_of_best"] = (chosen - random) / (best - random)
    taus = [tau for row in rows if (tau := rank_correlation(row["scores"], row["true_rewards"])) is not None]
    return found | ({"tau": fmean(taus)} if taus else {})
