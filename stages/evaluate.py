"""evaluate: who wins, by how much: every LLM of the game so far against those of this round; both RMs.

In: the answers that the last round's evaluation wrote, the answers of this round's LLMs, the responses that
each RM chose, the evaluations of both RMs. Out: a folder with the answers of every LLM so far. Metrics: per
pair of LLMs, by the testing RM and by the true reward; the accuracy of the APO RM minus that of the base RM;
and (demo) how well each RM ranks and chooses the samples of its arm. Curves: the LLMs round by round, the
testing RM's rewards of golden answers and samples, and (demo) the true reward against them. Paper, section
4.2.
"""

import json
from pathlib import Path
from typing import Any

from apo.core.config import read_section, read_seed
from apo.core.records import read_rows, write_json, write_parts
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.evaluation.compare_llms import chosen_truth, compare_all
from apo.evaluation.paired import RIGHT, accuracy_difference
from apo.evaluation.payoff import read_arms
from apo.evaluation.round_curves import round_rows
from apo.evaluation.settings import Evaluate
from apo.metrics.histograms import TRUTH, answer_curves

START = {"actor", "golden"}
"""What there is to compare before the first round, which compares it."""


def main(
    round: str,
    before: Path,
    base: Path,
    apo: Path,
    rjs_base: Path,
    rjs_apo: Path,
    base_rm: Path,
    apo_rm: Path,
    truth: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    resamples = read_section(params, "evaluate", Evaluate).bootstrap
    seed = read_seed(params)
    earlier = read_arms(before)
    arms = earlier | read_arms(base) | read_arms(apo)
    compared = earlier if set(earlier) - START else ()
    comparisons: dict[str, Any] = compare_all(arms, exclude=compared, seed=seed, resamples=resamples)
    right = (list(read_rows(folder / RIGHT, "query_id")) for folder in (apo_rm, base_rm))
    accuracy = accuracy_difference(*right, seed=seed, resamples=resamples)
    comparisons[f"apo_rm_{round}_vs_base_rm"] = {"accuracy": accuracy}
    if json.loads(truth.read_text(encoding="utf-8")):
        selections = {"base": list(read_rows(rjs_base)), "apo": list(read_rows(rjs_apo))}
        comparisons["chosen"] = chosen_truth(selections, seed=seed, resamples=resamples)
    write_parts(
        {name: out / f"{name}.jsonl" for name in arms},
        ((name, row) for name, rows in arms.items() for row in rows),
    )
    tables = answer_curves(arms, "scores") | {"rounds": round_rows(arms, seed=seed, resamples=resamples)}
    for name, rows in tables.items():
        write_csv(curves / f"{name}.csv", rows, TRUTH if name == "truth" else ())
    write_json(metrics, {f"evaluate_{round}": comparisons})


if __name__ == "__main__":
    run(main)
