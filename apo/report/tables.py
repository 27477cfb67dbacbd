"""The metrics of a run as tables, with 95 % intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apo.report.cells import Metrics, bounds, interval, number, signed_difference

MINUS_BASE = "minus base RM"
ACTOR = "actor"


@dataclass(frozen=True)
class Table:
    """A table. The first cell of a row is its name; an empty text is a missing value."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def tables(metrics: Metrics, rounds: Sequence[str]) -> list[Table]:
    """All tables that have a row, without empty columns."""
    candidates = [
        pairwise_results(metrics, rounds),
        language_models(metrics, rounds),
        reward_models(metrics, rounds),
        by_kind(metrics, rounds),
        selection_table(metrics, rounds),
        payoff(metrics, rounds),
        judge(metrics),
    ]
    return [_drop_empty_columns(table) for table in candidates if table.rows]


def reward_models(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """A row for each RM and part that it is evaluated on, then the best possible values if known."""
    rows = []
    best: list[str] = []
    for name, part, evaluation in _evaluations(metrics, rounds):
        truth, ece = evaluation.get("truth", {}), metrics[name].get("calibration", {})
        with_interval = {**evaluation, **(ece if part == "valid" else {})}
        rows.append(
            [
                f"{name}, {part}",
                interval(evaluation, "accuracy"),
                _minus_base(metrics, name) if part == "test" else "",
                number(evaluation.get("nll")),
                number(evaluation.get("brier")),
                interval(with_interval, "ece_10"),
                number(evaluation.get("calibrated", {}).get("ece_10")),
                number(evaluation.get("margin_mean")),
                number(truth.get("agreement")),
                number(evaluation.get("pairs")),
            ]
        )
        if truth and part == "test":
            nll, brier = (number(truth.get(key)) for key in ("nll", "brier"))
            accuracy = number(truth.get("best_accuracy"))
            best = ["best possible, test", accuracy, "", nll, brier, "", "", "", number(1.0), ""]
    return Table(
        "Reward models",
        "Accuracy with its Wilson interval; minus that of the base RM, with its paired bootstrap interval "
        "over queries; NLL and Brier score of the Bradley-Terry probability; ECE with 10 bins, both orders "
        "of a pair, as the rewards stand and (on test) with the temperature fitted on valid.",
        [
            "",
            "accuracy",
            MINUS_BASE,
            "NLL",
            "Brier",
            "ECE",
            "ECE with T",
            "margin",
            "agrees with truth",
            "pairs",
        ],
        rows + ([best] if best else []),
    )


def _minus_base(metrics: Metrics, apo_rm: str) -> str:
    """The accuracy of an APO RM on test minus that of the base RM, as the evaluation of its round has it."""
    evaluation = metrics.get(f"evaluate_{apo_rm.removeprefix('apo_rm_')}", {})
    return signed_difference(evaluation.get(f"{apo_rm}_vs_base_rm", {}).get("accuracy", {}))


def by_kind(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """The test accuracy of each RM on each kind of comparison."""
    test = [
        (name, evaluation.get("by_type", {}))
        for name, part, evaluation in _evaluations(metrics, rounds)
        if part == "test"
    ]
    kinds = sorted({kind for _, evaluation in test for kind in evaluation})
    rows = [
        [name, *(interval(evaluation.get(kind, {}), "accuracy") for kind in kinds)]
        for name, evaluation in test
    ]
    note = "Accuracy on test with its Wilson interval."
    return Table("Reward models by kind of query", note, ["", *kinds], rows if kinds else [])


def _evaluations(metrics: Metrics, rounds: Sequence[str]) -> Iterator[tuple[str, str, Metrics]]:
    for name in ("base_rm", *(f"apo_rm_{round}" for round in rounds), "test_rm"):
        for part in ("test", "valid"):
            if part in metrics.get(name, {}):
                yield name, part, metrics[name][part]


def llms(metrics: Metrics, rounds: Sequence[str]) -> dict[str, Metrics]:
    """The metrics of each LLM, those of the golden answers last."""
    names = [ACTOR, *(f"llm_{arm}_{round}" for round in rounds for arm in ("base", "apo"))]
    metrics_by_llm = {name: metrics[f"answer_{name}"] for name in names if f"answer_{name}" in metrics}
    golden = metrics_by_llm.get(ACTOR, {}).get("golden")
    return metrics_by_llm | ({"golden": golden} if golden else {})


def language_models(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """A row for each LLM."""
    columns = {
        "score_mean": "score by testing RM",
        "true_reward_mean": "true reward",
        "kl_mean": "KL",
        "kl_per_token": "KL per token",
        "words_mean": "words",
        "blank": "blank",
        "distinct": "distinct",
        "distinct_1": "distinct-1",
        "distinct_2": "distinct-2",
        "repetition": "repetition",
        "unfinished": "unfinished",
        "queries": "queries",
    }
    rows = [
        [name, *(interval(llm_metrics.get("sampling", {}) | llm_metrics, key) for key in columns)]
        for name, llm_metrics in llms(metrics, rounds).items()
    ]
    note = (
        "On the test queries. Score with its bootstrap interval over queries; KL to the first actor along "
        "its own answers, in nats; the rest shows what a reward may have been won by."
    )
    return Table("Language models", note, ["", *columns.values()], rows)


def pairwise_results(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """A row for each pair of LLMs and each judge."""
    rows = []
    for round in rounds:
        for pair, comparison in metrics.get(f"evaluate_{round}", {}).items():
            for key, rater in (("score", "testing RM"), ("true_reward", "true reward")):
                if pair != "chosen" and key in comparison:
                    rows.append([pair.replace("_vs_", " against "), rater, *_pairwise_cells(comparison[key])])
    note = "Mean difference with its paired bootstrap interval; a tie counts half in the win rate."
    return Table("Who wins", note, ["", "judged by", *PAIRWISE_COLUMNS], rows)


PAIRWISE_COLUMNS = ["difference", "won", "tied", "lost", "win rate", "sign test p"]


def _pairwise_cells(comparison: Metrics) -> list[str]:
    counts = [number(comparison.get(key)) for key in ("win", "tie", "lose")]
    rate, p = interval(comparison, "win_rate"), number(comparison.get("sign_test_p"))
    return [interval(comparison, "difference"), *counts, rate, p]


def selection_table(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """The true reward of the samples that each RM chose in its arm."""
    rows = []
    for round in rounds:
        chosen = metrics.get(f"evaluate_{round}", {}).get("chosen", {})
        for arm, name in (("base", "base RM"), ("apo", "APO RM")):
            if arm in chosen:
                keys = ("chosen", "random", "best", "share_of_best", "tau")
                rows.append([f"{round}, {name}", *(number(chosen[arm].get(key)) for key in keys), ""])
        if "apo_vs_base" in chosen:
            difference = interval(chosen["apo_vs_base"], "difference")
            rows.append([f"{round}, APO minus base", "", "", "", "", "", difference])
    note = (
        "True reward of the chosen samples, of a random one and of the best; tau-b of rewards and truth. "
        "From round two on each RM chooses among the samples of its own LLM: the difference is one of both."
    )
    head = ["", "chosen", "at random", "at best", "share of best", "tau", "difference"]
    return Table("What the reward models chose", note, head, rows)


def payoff(metrics: Metrics, rounds: Sequence[str]) -> Table:
    """The gain of each LLM (column) over the actor, in the rewards of each RM (row)."""
    metrics_by_llm = llms(metrics, rounds)
    gains = {
        rater: _gains(metrics_by_llm, f"{key}_mean") | _compared_with_actor(metrics, rounds, key)
        for rater, key in (("testing RM", "score"), ("true reward", "true_reward"))
    }
    for round in rounds:
        for rm, rewards in metrics.get(f"payoff_{round}", {}).items():
            gains[rm] = _gains(rewards, "reward_mean")
    columns = [name for name in metrics_by_llm if name != ACTOR]
    rows = [
        [rater, *(signed_difference(by_llm.get(llm, {})) for llm in columns)]
        for rater, by_llm in gains.items()
        if by_llm
    ]
    note = (
        "Mean gain of each LLM over the actor, in the rewards of each RM, with the paired bootstrap interval "
        "over queries. An LLM that rises by the RM that trained it and falls by the testing RM has learned "
        "its mistakes."
    )
    return Table("Payoff matrix", note, ["gain by", *columns], rows)


def _gains(metrics_by_llm: Metrics, key: str) -> dict[str, Metrics]:
    """By LLM, the difference of a mean reward to that of the actor, with its interval where there is one."""
    start = metrics_by_llm.get(ACTOR, {}).get(key)
    if start is None:
        return {}
    gains: dict[str, Metrics] = {}
    for llm, values in metrics_by_llm.items():
        if values.get(key) is not None:
            measured = {"difference": "gain", "low": "gain_low", "high": "gain_high"}
            if set(measured.values()) <= values.keys():
                gains[llm] = {name: values[of_row] for name, of_row in measured.items()}
            else:
                gains[llm] = {"difference": values[key] - start}
    return gains


def _compared_with_actor(metrics: Metrics, rounds: Sequence[str], key: str) -> dict[str, Metrics]:
    """By LLM, its comparison with the actor by a rater."""
    suffix = f"_vs_{ACTOR}"
    return {
        pair.removesuffix(suffix): comparison[key]
        for round in rounds
        for pair, comparison in metrics.get(f"evaluate_{round}", {}).items()
        if pair.endswith(suffix) and key in comparison
    }


def judge(metrics: Metrics) -> Table:
    """The verdicts of an external language model on each pair of LLMs."""
    pairs = {key: value for key, value in metrics.get("judge", {}).items() if isinstance(value, dict)}
    columns = ["queries", "win", "tie", "lose", "unjudged", "difference", "sign_test_p", "agrees_with_score"]
    columns += ["first_shown_won", "orders_disagree", "identical"]
    rows = [
        [pair.replace("_vs_", " against "), *(interval(verdicts, k) for k in columns)]
        for pair, verdicts in pairs.items()
    ]
    note = "By a language model from outside, asked in both orders."
    return Table("A judge from outside", note, ["", *(key.replace("_", " ") for key in columns)], rows)


def all_metrics(metrics: Metrics) -> list[Table]:
    """All metrics, a table for each top-level key, with the interval of each value."""
    return [
        Table(name, "", ["metric", "value", "95 % interval"], list(_leaves(content, "")))
        for name, content in sorted(metrics.items())
    ]


def _leaves(content: Any, prefix: str) -> Iterator[list[str]]:
    if not isinstance(content, dict):
        yield [prefix, number(content), ""]
        return
    interval_keys = {name for key in content for name in bounds(content, key) if name}
    for key, value in content.items():
        low, high = bounds(content, key)
        if low and high:
            yield [f"{prefix}{key}", number(value), f"{number(content[low])} to {number(content[high])}"]
        elif key not in interval_keys:
            yield from _leaves(value, f"{prefix}{key}." if isinstance(value, dict) else f"{prefix}{key}")


def parameters(section: str, values: Any) -> list[list[str]]:
    """A row for each parameter of a section, by its dotted name."""
    if isinstance(values, dict) and values:
        return [row for key, value in values.items() for row in parameters(f"{section}.{key}", value)]
    return [[section, repr(values) if isinstance(values, str) else str(values)]]


def _drop_empty_columns(table: Table) -> Table:
    indices = [i for i in range(len(table.head)) if i == 0 or any(row[i] for row in table.rows)]
    rows = [[row[i] for i in indices] for row in table.rows]
    return Table(table.title, table.note, [table.head[i] for i in indices], rows)
