"""The metrics of a run as tables, with 95 % intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One table: the first cell of a row is its name, an empty text is no value."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def number(value: Any) -> str:
    """A value as text: three digits behind the point, thousands apart, small numbers in powers of ten."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def interval(found: Found, key: str) -> str:
    """A value with its 95 % interval, where it has one.

    >>> interval({"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75}, "accuracy")
    '0.500 (0.250 to 0.750)'
    >>> interval({"nll": 0.5}, "nll"), interval({}, "nll")
    ('0.500', '')
    """
    low, high = bounds(found, key)
    if key not in found or not (low and high):
        return number(found.get(key))
    return f"{number(found[key])} ({number(found[low])} to {number(found[high])})"


def bounds(found: Found, key: str) -> tuple[str | None, str | None]:
    """The names under which the interval of a value stands beside it."""
    stem = key.removesuffix("_mean")
    for low, high in ((f"{key}_low", f"{key}_high"), (f"{stem}_low", f"{stem}_high")):
        if low in found and high in found:
            return low, high
    if key == "difference" and "low" in found and "high" in found:
        return "low", "high"
    return None, None


def tables(metrics: Found, rounds: Sequence[str]) -> list[Table]:
    """All of them that have a row, without columns in which nothing stands."""
    made = [
        duels(metrics, rounds),
        language_models(metrics, rounds),
        reward_models(metrics, rounds),
        by_kind(metrics, rounds),
        choices(metrics, rounds),
        payoff(metrics, rounds),
        judge(metrics),
    ]
    return [_without_empty_columns(table) for table in made if table.rows]


def reward_models(metrics: Found, rounds: Sequence[str]) -> Table:
    """A row for each RM and part that it is measured on; the truth as the last row where it is known."""
    rows = []
    best: list[str] = []
    for name, part, found in _measured(metrics, rounds):
        truth, ece = found.get("truth", {}), metrics[name].get("calibration", {})
        shown = {**found, **(ece if part == "valid" else {})}
        rows.append(
            [
                f"{name}, {part}",
                interval(found, "accuracy"),
                number(found.get("nll")),
                number(found.get("brier")),
                interval(shown, "ece_10"),
                number(found.get("calibrated", {}).get("ece_10")),
                number(found.get("margin_mean")),
                number(truth.get("agreement")),
                number(found.get("pairs")),
            ]
        )
        if truth and part == "test":
            values = [truth.get(key) for key in ("best_accuracy", "nll", "brier", "ece_10")]
            best = ["best possible, test", *map(number, values), "", "", number(1.0), ""]
    return Table(
        "Reward models",
        "Accuracy with its Wilson interval; NLL and Brier score of the Bradley-Terry probability; ECE with "
        "10 bins, both orders of a pair, as the rewards stand and (on test) with the temperature fitted on "
        "valid.",
        ["", "accuracy", "NLL", "Brier", "ECE", "ECE with T", "margin", "agrees with truth", "pairs"],
        rows + ([best] if best else []),
    )


def by_kind(metrics: Found, rounds: Sequence[str]) -> Table:
    """Accuracy of each RM on each kind of comparison of test."""
    test = [
        (name, found.get("by_type", {})) for name, part, found in _measured(metrics, rounds) if part == "test"
    ]
    kinds = sorted({kind for _, found in test for kind in found})
    rows = [[name, *(interval(found.get(kind, {}), "accuracy") for kind in kinds)] for name, found in test]
    note = "Accuracy on test with its Wilson interval."
    return Table("Reward models by kind of query", note, ["", *kinds], rows if kinds else [])


def _measured(metrics: Found, rounds: Sequence[str]) -> Iterator[tuple[str, str, Found]]:
    for name in ("base_rm", *(f"apo_rm_{one}" for one in rounds), "test_rm"):
        for part in ("test", "valid"):
            if part in metrics.get(name, {}):
                yield name, part, metrics[name][part]


def llms(metrics: Found, rounds: Sequence[str]) -> dict[str, Found]:
    """What was found for each LLM, the golden answers last."""
    names = ["actor", *(f"llm_{arm}_{one}" for one in rounds for arm in ("base", "apo"))]
    found = {name: metrics[f"answer_{name}"] for name in names if f"answer_{name}" in metrics}
    golden = found.get("actor", {}).get("golden")
    return found | ({"golden": golden} if golden else {})


def language_models(metrics: Found, rounds: Sequence[str]) -> Table:
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
        [name, *(interval(found.get("sampling", {}) | found, key) for key in columns)]
        for name, found in llms(metrics, rounds).items()
    ]
    note = (
        "On the test queries. Score with its bootstrap interval over queries; KL to the first actor along "
        "its own answers, in nats; the rest shows what a reward may have been won by."
    )
    return Table("Language models", note, ["", *columns.values()], rows)


def duels(metrics: Found, rounds: Sequence[str]) -> Table:
    """A row for each two LLMs and who judged them."""
    rows = []
    for one in rounds:
        for pair, found in metrics.get(f"evaluate_{one}", {}).items():
            for key, by in (("score", "testing RM"), ("true_reward", "true reward")):
                if pair != "chosen" and key in found:
                    rows.append([pair.replace("_vs_", " against "), by, *_duel(found[key])])
    note = "Mean difference with its paired bootstrap interval; a tie counts half in the win rate."
    return Table("Who wins", note, ["", "judged by", *DUEL], rows)


DUEL = ["difference", "won", "tied", "lost", "win rate", "sign test p"]


def _duel(found: Found) -> list[str]:
    counts = [number(found.get(key)) for key in ("win", "tie", "lose")]
    rate, p = interval(found, "win_rate"), number(found.get("sign_test_p"))
    return [interval(found, "difference"), *counts, rate, p]


def choices(metrics: Found, rounds: Sequence[str]) -> Table:
    """What each RM chose among the samples of its arm, by the true reward."""
    rows = []
    for one in rounds:
        found = metrics.get(f"evaluate_{one}", {}).get("chosen", {})
        for arm, name in (("base", "base RM"), ("apo", "APO RM")):
            if arm in found:
                keys = ("chosen", "random", "best", "share_of_best", "tau")
                rows.append([f"{one}, {name}", *(number(found[arm].get(key)) for key in keys), ""])
        if "apo_vs_base" in found:
            rows.append(
                [f"{one}, APO minus base", "", "", "", "", "", interval(found["apo_vs_base"], "difference")]
            )
    note = "True reward of the chosen samples, of a random one and of the best; tau-b of rewards and truth."
    head = ["", "chosen", "at random", "at best", "share of best", "tau", "difference"]
    return Table("What the reward models chose", note, head, rows)


def payoff(metrics: Found, rounds: Sequence[str]) -> Table:
    """What each RM (row) thinks that each LLM (column) gained over the actor, in its own rewards."""
    found = llms(metrics, rounds)
    rated = {
        row: {name: one.get(key) for name, one in found.items()}
        for row, key in (("testing RM", "score_mean"), ("true reward", "true_reward_mean"))
    }
    for one in rounds:
        for rm, of in metrics.get(f"payoff_{one}", {}).items():
            rated[rm] = {llm: mean.get("reward_mean") for llm, mean in of.items()}
    columns = [name for name in found if name != "actor"]
    rows = []
    for name, of in rated.items():
        start = of.get("actor")
        if start is not None:
            gains = [None if of.get(llm) is None else of[llm] - start for llm in columns]
            rows.append([name, *("" if gain is None else f"{gain:+.3f}" for gain in gains)])
    note = (
        "Mean gain of each LLM over the actor, in the rewards of each RM. An LLM that rises by the RM that "
        "trained it and falls by the testing RM has learned its mistakes."
    )
    return Table("Payoff matrix", note, ["gain by", *columns], rows)


def judge(metrics: Found) -> Table:
    """What a language model from outside said of each two LLMs."""
    found = {key: one for key, one in metrics.get("judge", {}).items() if isinstance(one, dict)}
    columns = ["queries", "win", "tie", "lose", "unjudged", "difference", "sign_test_p", "agrees_with_score"]
    columns += ["first_shown_won", "orders_disagree", "identical"]
    rows = [
        [pair.replace("_vs_", " against "), *(interval(one, k) for k in columns)]
        for pair, one in found.items()
    ]
    note = "By a language model from outside, asked in both orders."
    return Table("A judge from outside", note, ["", *(key.replace("_", " ") for key in columns)], rows)


def everything(metrics: Found) -> list[Table]:
    """All metrics, a table for each top-level key; an interval stands beside its value."""
    return [
        Table(name, "", ["metric", "value", "95 % interval"], list(_leaves(found, "")))
        for name, found in sorted(metrics.items())
    ]


def _leaves(found: Any, prefix: str) -> Iterator[list[str]]:
    if not isinstance(found, dict):
        yield [prefix, number(found), ""]
        return
    taken = {name for key in found for name in bounds(found, key) if name}
    for key, value in found.items():
        low, high = bounds(found, key)
        if low and high:
            yield [f"{prefix}{key}", number(value), f"{number(found[low])} to {number(found[high])}"]
        elif key not in taken:
            yield from _leaves(value, f"{prefix}{key}." if isinstance(value, dict) else f"{prefix}{key}")


def parameters(section: str, values: Any) -> list[list[str]]:
    """A row for each parameter of a section, by its dotted name."""
    if isinstance(values, dict) and values:
        return [row for key, value in values.items() for row in parameters(f"{section}.{key}", value)]
    return [[section, repr(values) if isinstance(values, str) else str(values)]]


def _without_empty_columns(table: Table) -> Table:
    kept = [i for i in range(len(table.head)) if i == 0 or any(row[i] for row in table.rows)]
    rows = [[row[i] for i in kept] for row in table.rows]
    return Table(table.title, table.note, [table.head[i] for i in kept], rows)
