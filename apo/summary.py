"""The result of a run in three tables: which reward model and which language model won, and where to look."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas

from apo.core.config import read_value
from apo.core.errors import UserError

LLM_COLUMNS = {
    "score_mean": "score by testing RM",
    "score_low": "from",
    "score_high": "to",
    "true_reward_mean": "true reward",
    "words_mean": "words",
    "blank": "blank answers",
    "repetition": "repetition",
    "kl_per_token": "KL a token",
}


def main(folder: Path, params: Path) -> None:
    """Prints the tables of the metrics files in a folder, of the rounds that the parameters name."""
    rounds = [one["id"] for one in read_value(params, "rounds")]
    metrics: dict[str, Any] = {}
    for path in [*folder.glob("*.json"), *(p for one in rounds for p in (folder / one).glob("*.json"))]:
        metrics |= json.loads(path.read_text(encoding="utf-8"))
    print(summary(metrics, rounds, where=str(folder)))


def summary(metrics: dict[str, Any], rounds: list[str], *, where: str) -> str:
    """The tables, and who won in each round.

    Args:
        metrics: The metrics files as one document.
        rounds: Names of the rounds.
        where: The metrics are from, for the message.

    Raises:
        UserError: Those of a stage are missing.
    """
    wanted = ["base_rm", "test_rm", "answer_actor", "payoff_r0"]
    for one in rounds:
        wanted += [
            f"{name}_{one}" for name in ("apo_rm", "answer_llm_base", "answer_llm_apo", "evaluate", "payoff")
        ]
    missing = [name for name in wanted if name not in metrics]
    if missing:
        raise UserError(
            where,
            found=f"no metrics of {', '.join(missing)}",
            expected="those of a whole run",
            do="run `dvc repro`",
        )
    tables = (reward_models(metrics, rounds), language_models(metrics, rounds), payoff(metrics, rounds))
    return "\n".join(
        [
            *(table.to_string(float_format="%.3f", na_rep="") + "\n" for table in tables),
            *(verdict(metrics[f"evaluate_{one}"], one) for one in rounds),
            "more: data/report/report.html in a browser; dvc metrics show; answers with scores: "
            "data/evaluate/",
        ]
    )


def reward_models(metrics: dict[str, Any], rounds: list[str]) -> pandas.DataFrame:
    """A row for each reward model, on test; the truth as the last row where it is known."""
    rows = {}
    for name in ("base_rm", *(f"apo_rm_{one}" for one in rounds), "test_rm"):
        found = metrics[name]["test"]
        rows[name] = {
            "test accuracy": found["accuracy"],
            "from": found["accuracy_low"],
            "to": found["accuracy_high"],
            "ECE (10 bins)": found.get("ece_10"),
            "NLL": found["nll"],
        }
        if "truth" in found:
            truth = found["truth"]
            rows[name]["agrees with truth"] = truth["agreement"]
            best = {"test accuracy": truth["best_accuracy"], "ECE (10 bins)": truth.get("ece_10")}
            rows["best possible"] = best | {"NLL": truth["nll"], "agrees with truth": 1.0}
    if "best possible" in rows:
        rows["best possible"] = rows.pop("best possible")
    return pandas.DataFrame.from_dict(rows, orient="index").dropna(axis="columns", how="all")


def _llms(metrics: dict[str, Any], rounds: list[str]) -> dict[str, Any]:
    """What was found for each language model, the golden answers last."""
    names = ["actor", *(f"llm_{arm}_{one}" for one in rounds for arm in ("base", "apo"))]
    found = {name: metrics[f"answer_{name}"] for name in names}
    return found | ({"golden": found["actor"]["golden"]} if "golden" in found["actor"] else {})


def language_models(metrics: dict[str, Any], rounds: list[str]) -> pandas.DataFrame:
    """A row for each language model, on the test queries."""
    table = pandas.DataFrame.from_dict(_llms(metrics, rounds), orient="index")
    return table[[key for key in LLM_COLUMNS if key in table]].rename(columns=LLM_COLUMNS)


def payoff(metrics: dict[str, Any], rounds: list[str]) -> pandas.DataFrame:
    """What each RM (row) thinks that each LLM (column) gained over the actor, in rewards of that RM."""
    llms = _llms(metrics, rounds)
    rows = {
        row: {name: found[key] for name, found in llms.items()}
        for row, key in (("test_rm", "score_mean"), ("true reward", "true_reward_mean"))
        if key in llms["actor"]
    }
    for name, key in (("base_rm", "payoff_r0"), *((f"apo_rm_{one}", f"payoff_{one}") for one in rounds)):
        rows[name] = {llm: found["reward_mean"] for llm, found in metrics[key].items()}
    table = pandas.DataFrame.from_dict(rows, orient="index")[list(llms)]
    gained = table.sub(table["actor"], axis="index").drop(columns="actor")
    return gained.rename_axis("gain over the actor, by")


def verdict(found: dict[str, Any], one: str) -> str:
    """Which LLM of a round won, and (demo) which RM chose better."""
    duel = found[f"llm_apo_{one}_vs_llm_base_{one}"]["score"]
    winner = "beats" if duel["low"] > 0 else "loses to" if duel["high"] < 0 else "draws with"
    text = (
        f"{one}: llm_apo {winner} llm_base by the testing RM: {duel['difference']:+.3f}, 95 % interval "
        f"{duel['low']:+.3f} to {duel['high']:+.3f}, "
        f"{duel['win']} won, {duel['tie']} tied, {duel['lose']} lost"
    )
    if "chosen" in found:
        apo, base, gap = (found["chosen"][key] for key in ("apo", "base", "apo_vs_base"))
        text += (
            f"\n    true reward of the chosen responses: APO RM {apo['chosen']:.3f} (at random "
            f"{apo['random']:.3f}, at best {apo['best']:.3f}), base RM {base['chosen']:.3f} (at random "
            f"{base['random']:.3f}, at best {base['best']:.3f}); "
            f"difference {gap['low']:+.3f} to {gap['high']:+.3f}"
        )
    return text


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
