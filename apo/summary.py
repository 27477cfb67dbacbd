"""The result of a run in two tables: which reward model and which language model won, and where to look."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas

from apo.errors import UserError


def main(folder: Path) -> None:
    """Prints the tables of the metrics files in a folder."""
    metrics: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        metrics |= json.loads(path.read_text(encoding="utf-8"))
    missing = {"base_rm", "apo_rm", "test_rm", "evaluate"} - metrics.keys()
    if missing:
        raise UserError(
            str(folder),
            found=f"no metrics of {', '.join(sorted(missing))}",
            expected="those of a whole run",
            do="run `dvc repro`",
        )
    print(reward_models(metrics).to_string(float_format="%.3f", na_rep=""))
    print()
    print(language_models(metrics).to_string(float_format="%.3f", na_rep=""))
    duel = metrics["evaluate"]["llm_apo_vs_llm_base"]["score"]
    winner = "beats" if duel["low"] > 0 else "loses to" if duel["high"] < 0 else "draws with"
    print(
        f"\nllm_apo {winner} llm_base by the testing RM: {duel['difference']:+.3f}, 95 % interval "
        f"{duel['low']:+.3f} to {duel['high']:+.3f}, "
        f"{duel['win']} won, {duel['tie']} tied, {duel['lose']} lost"
    )
    if "chosen" in metrics["evaluate"]:
        chosen = metrics["evaluate"]["chosen"]
        gap = chosen["apo_vs_base"]
        print(
            f"true reward of the chosen responses: APO RM {chosen['apo']:.3f}, base RM {chosen['base']:.3f} "
            f"(difference {gap['low']:+.3f} to {gap['high']:+.3f}); at random {chosen['random']:.3f}, "
            f"the best {chosen['best']:.3f}"
        )
    print("more: dvc metrics show; answers with their scores: data/evaluate/")


def reward_models(metrics: dict[str, Any]) -> pandas.DataFrame:
    """A row for each reward model, on test; the truth as the last row where it is known."""
    rows = {}
    for name in ("base_rm", "apo_rm", "test_rm"):
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


def language_models(metrics: dict[str, Any]) -> pandas.DataFrame:
    """A row for each language model, on the test queries."""
    rows = {name: metrics["evaluate"][name] for name in ("actor", "llm_base", "llm_apo")}
    names = {
        "score_mean": "score by testing RM",
        "true_reward_mean": "true reward",
        "words_mean": "words",
        "blank": "blank answers",
    }
    return pandas.DataFrame.from_dict(rows, orient="index").rename(columns=names)[
        [name for key, name in names.items() if key in rows["actor"]]
    ]


if __name__ == "__main__":
    try:
        main(Path(*sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
