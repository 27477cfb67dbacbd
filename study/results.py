"""The rows of `results.jsonl`: the numbers of a kept game that the pages use."""

from collections.abc import Iterable, Sequence
from typing import Any

from study.collect import FEWER
from study.paired import Row
from study.pipeline import (
    ARMS,
    ROUNDS,
    best_accuracy,
    choice_measures,
    llm_measures,
    query_error,
    rm_measures,
    start_measures,
)

TWO_ROUNDS = ("method", "alignment")
"""Kinds of games that are played to the end of round two."""


def row_of(result: Row) -> Row:
    """The numbers of one game.

    Returns:
        `kind`, `name` and `seed` of the game, its `seconds` and `code`; `pairs`, by round and measure [base
        arm, APO arm]; `start`, the values that both arms share in round one; `points` by component of the
        true reward, of the responses `chosen` in round one and of the `answers` of each LLM; after two
        rounds, by round, `query_error`, see `study.pipeline.query_error`.
    """
    metrics, selection = result["metrics"], result["selection"]
    row = {name: result[name] for name in ("kind", "name", "seed", "seconds")}
    row["code"] = result["code"][:12]
    row["pairs"] = {"r1": _rm_pairs(metrics, "r1") | _choice_pairs(selection)}
    row["start"] = {
        "random": selection["base"]["random"],
        "best": selection["base"]["best"],
        "best_accuracy": best_accuracy(metrics),
        **{f"golden_{name}": value for name, value in result["golden"].items()},
    }
    row["points"] = {
        "chosen": {arm: selection[arm]["points"] for arm in ARMS},
        "answers": result["answers"],
    }
    if result["kind"] in TWO_ROUNDS:
        for round in ROUNDS:
            choice = _choice_pairs(choice_measures(metrics, round))
            measured = _rm_pairs(metrics, round) | choice | _llm_pairs(metrics, round)
            row["pairs"][round] = row["pairs"].get(round, {}) | measured
        row["start"] |= start_measures(metrics)
        row["query_error"] = {round: query_error(metrics, round) for round in ROUNDS}
    return {key: rounded(value) for key, value in row.items()}


def merged(previous: Iterable[Row], new: Iterable[Row], order: Sequence[tuple[str, str, int]]) -> list[Row]:
    """Rows in the order of play; a new row replaces the one of the same game.

    Args:
        previous: The rows of `results.jsonl`.
        new: The rows of games that were played since.
        order: Kind, name and seed of every game of the settings. A row of another game is left out.
    """
    rows = {(row["kind"], row["name"], row["seed"]): row for row in (*previous, *new)}
    return [rows[game] for game in order if game in rows]


OLDER = "older"
"""The code of a row from before rows had one."""


def mixed_sets(rows: Iterable[Row], alignments: Iterable[Row]) -> dict[str, list[str]]:
    """The sets that were played by more than one code, and these codes: a seed is another world with each.

    `method` and `sweep` count as one: the sweep is compared with the baseline that `method` played.

    Args:
        rows: Rows of `results.jsonl`.
        alignments: Rows of `transfer.jsonl`.
    """
    codes: dict[str, set[str]] = {}
    for row in rows:
        name = "method and sweep" if row["kind"] in ("method", "sweep") else row["kind"]
        codes.setdefault(name, set()).add(row.get("code", OLDER))
    for row in alignments:
        codes.setdefault("transfer", set()).add(row.get("code", OLDER))
    return {name: sorted(found) for name, found in codes.items() if len(found) > 1}


def _rm_pairs(metrics: Row, round: str) -> dict[str, list[float]]:
    base, apo = (rm_measures(metrics, arm, round) for arm in ARMS)
    return {name: [base[name], apo[name]] for name in base}


def _choice_pairs(chosen: Row) -> dict[str, list[float]]:
    fewer = (f"chosen_of_{samples}" for samples in FEWER)
    names = ("chosen", *fewer, "random", "best", "share_of_best", "tau")
    return {
        name: [chosen[arm][name] for arm in ARMS]
        for name in names
        if all(name in chosen[arm] for arm in ARMS)
    }


def _llm_pairs(metrics: Row, round: str) -> dict[str, list[float]]:
    base, apo = (llm_measures(metrics, arm, round) for arm in ARMS)
    return {f"llm_{name}": [base[name], apo[name]] for name in base if name in apo}


def rounded(value: Any) -> Any:
    """Six digits: more are not meaningful, and the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(element) for key, element in value.items()}
    return [rounded(element) for element in value] if isinstance(value, list) else value


def transfer_row(result: Row) -> Row:
    """A row of `transfer.jsonl`: one alignment, without the fields that only the cache needs."""
    names = ("seed", "targets", "chooser", "method", "alignment_seed", "seconds")
    result_keys = ("target_true_reward", "actor_true_reward", "llm")
    row = {name: result[name] for name in names} | {"code": result["code"][:12]}
    return row | {name: rounded(result[name]) for name in result_keys}


def merged_alignments(previous: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Rows of `transfer.jsonl`; a new row replaces the one of the same alignment."""
    names = ("targets", "method", "seed", "alignment_seed", "chooser")
    rows = {tuple(row[name] for name in names): row for row in (*previous, *new)}
    return [rows[key] for key in sorted(rows)]
