"""What is kept of a game with a real model: the RMs on each test set and what they choose, and the LLMs."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from apo.core.records import Row
from apo.metrics.statistics import rank_correlation
from study.pipeline import Metrics
from study.real.files import first_words

Measures = dict[str, Any]


def rm_measures(evaluation: Metrics) -> Measures:
    """Accuracy (also by test set, where there are several), NLL and ECE of an evaluated reward model."""
    test = evaluation["test"]
    by_set = {name: [part["accuracy"], part["pairs"]] for name, part in test.get("by_type", {}).items()}
    names = ("accuracy", "pairs", "nll", "ece_10", "queries_cut", "responses_cut")
    return {name: test[name] for name in names} | {"by_set": by_set}


def choice_measures(selected: Sequence[Row], scored: Mapping[str, Sequence[float]]) -> Measures:
    """What a reward model chooses among the samples of the LLM queries.

    Args:
        selected: Rows of stage `rjs`.
        scored: The rewards of the same samples by the testing RM, by `query_id`.

    Returns:
        `tau_test_rm` and `tau_words`, the mean over queries of Kendall's tau-b of the rewards with those of
        the testing RM and with the number of words; queries whose values are all equal are left out.
        `test_rm` and `words`, each [chosen, mean of all samples, highest].
    """
    test_rm_taus, word_taus = [], []
    test_rm: list[tuple[float, ...]] = []
    words: list[tuple[float, ...]] = []
    for row in selected:
        by_test_rm = list(scored[row["query_id"]])
        lengths = [float(len(sample.split())) for sample in row["samples"]]
        test_rm_taus.append(rank_correlation(row["scores"], by_test_rm))
        word_taus.append(rank_correlation(row["scores"], lengths))
        for table, values in ((test_rm, by_test_rm), (words, lengths)):
            table.append((values[row["target_index"]], fmean(values), max(values)))
    return {
        "queries": len(selected),
        "tau_test_rm": _mean(test_rm_taus),
        "tau_words": _mean(word_taus),
        "test_rm": _means(test_rm),
        "words": _means(words),
    }


def choice_of_testing_rm(selected: Sequence[Row], scored: Mapping[str, Sequence[float]]) -> Measures:
    """As `choice_measures`, for the testing RM itself: which lengths the measure of all others prefers."""
    rows = []
    for row in selected:
        rewards = list(scored[row["query_id"]])
        rows.append({**row, "scores": rewards, "target_index": rewards.index(max(rewards))})
    return choice_measures(rows, scored)


def llm_measures(answers: Metrics) -> Measures:
    """Of the answers of an LLM to the test queries: score by the testing RM with its interval, length, KL."""
    names = ("score_mean", "score_low", "score_high", "words_mean", "kl_per_token", "repetition", "queries")
    return {name: answers[name] for name in names if name in answers}


def golden_measures(response_sets: Sequence[Row]) -> Measures:
    """Words of golden answers and of samples, and how often the golden answer of a pair is the longer one."""
    golden, samples, longer = [], [], []
    for row in response_sets:
        first, *others = (len(response.split()) for response in row["responses"])
        golden.append(first)
        samples += others
        longer += [first > other for other in others]
    return {
        "queries": len(golden),
        "golden_words": fmean(golden),
        "sample_words": fmean(samples),
        "golden_longer": fmean(longer),
    }


def with_cut_golden(response_sets: Sequence[Row]) -> list[Row]:
    """Golden answers cut after as many words as the samples of their query have on average."""
    cut = []
    for row in response_sets:
        golden, *samples = row["responses"]
        number = round(fmean(len(sample.split()) for sample in samples))
        cut.append({**row, "responses": [first_words(golden, max(1, number)), *samples]})
    return cut


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _means(rows: Sequence[tuple[float, ...]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]
