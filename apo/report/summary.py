"""The summary of a run on a terminal: shortened tables of the report, and the result of each round."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from apo.report.cells import signed_difference
from apo.report.tables import MINUS_BASE, Table, language_models, payoff, reward_models

RM_COLUMNS = {
    "accuracy": "test accuracy",
    MINUS_BASE: "minus base_rm",
    "NLL": "NLL",
    "ECE": "ECE (10 bins)",
    "agrees with truth": "",
}
LLM_COLUMNS = {
    "score by testing RM": "",
    "true reward": "",
    "KL per token": "",
    "words": "",
    "blank": "blank answers",
    "repetition": "",
}


def summary(metrics: Mapping[str, Any], rounds: Sequence[str]) -> str:
    """Three tables as text, and a paragraph for each round that was evaluated."""
    rms, llms = reward_models(metrics, rounds), language_models(metrics, rounds)
    on_test = [[row[0].removesuffix(", test"), *row[1:]] for row in rms.rows if row[0].endswith(", test")]
    parts = [
        _text(rms.head, on_test, RM_COLUMNS),
        _text(llms.head, llms.rows, LLM_COLUMNS),
        _text(*_payoff_columns(payoff(metrics, rounds))),
        *(verdict(metrics[f"evaluate_{round}"], round) for round in rounds if f"evaluate_{round}" in metrics),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _payoff_columns(table: Table) -> tuple[list[str], list[list[str]], dict[str, str]]:
    """The payoff matrix without its intervals, for which a terminal is too narrow."""
    rows = [[name, *(cell.partition(" ")[0] for cell in cells)] for name, *cells in table.rows]
    return ["gain over the actor, by", *table.head[1:]], rows, dict.fromkeys(table.head[1:], "")


def _text(head: Sequence[str], rows: Sequence[Sequence[str]], columns: Mapping[str, str]) -> str:
    """The given columns of a table, renamed; empty columns are left out."""
    indices = [i for i, name in enumerate(head) if i and name in columns and any(row[i] for row in rows)]
    if not rows:
        return ""
    names = [columns[head[i]] or head[i] for i in indices]
    table = pandas.DataFrame([[row[i] for i in indices] for row in rows], [row[0] for row in rows], names)
    return str(table.rename_axis(columns=head[0] or None).to_string())


def verdict(evaluation: Mapping[str, Any], round: str) -> str:
    """The result of a round: the LLM of the APO arm against that of the control arm, and the chosen samples.

    The interval is over the test queries of this run. It does not include the variation over seeds.
    """
    text = f"{round}, this run:"
    for key, rater in (("score", "testing RM"), ("true_reward", "true reward")):
        comparison = evaluation.get(f"llm_apo_{round}_vs_llm_base_{round}", {}).get(key)
        if comparison:
            text += (
                f"\n  llm_apo minus llm_base by the {rater}: {signed_difference(comparison)}, "
                f"{comparison['win']} won, {comparison['tie']} tied, {comparison['lose']} lost"
            )
    if "chosen" in evaluation:
        apo, base, gap = (evaluation["chosen"][key] for key in ("apo", "base", "apo_vs_base"))
        same = all(apo[key] == base[key] for key in ("random", "best"))
        sides = "APO RM minus base RM" if same else "APO arm minus base arm, each of its own LLM's samples"
        text += (
            f"\n  true reward of the chosen samples, {sides}: {signed_difference(gap)}\n"
            f"    APO RM {apo['chosen']:.3f} (at random {apo['random']:.3f}, at best {apo['best']:.3f}), "
            f"base RM {base['chosen']:.3f} (at random {base['random']:.3f}, at best {base['best']:.3f})"
        )
    return (
        f"{text}\n  95 % intervals over the queries of this run; another seed can turn the sign: "
        "docs/results.md has ten."
    )
