"""payoff: the base RM and the APO RM of a round rate the answers of every LLM, of later rounds too.

In: both RMs, the answers of all LLMs. Out and metrics: each RM's mean reward of each LLM and its gain over
the actor, two rows of the payoff matrix RM x LLM, in which over-optimization shows: an LLM may rise by the RM
that trained it and fall by the testing RM. Curves: histograms of the rewards of golden answers and of each
LLM's, and (demo) the true reward against the reward.
"""

from collections import Counter
from pathlib import Path

from apo.chunks.resumable import open_chunks
from apo.core.cache import fingerprint
from apo.core.config import read_section, read_seed
from apo.core.records import Row, write_json, write_rows
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.evaluation.payoff import payoff_row, read_arms
from apo.evaluation.settings import Evaluate
from apo.metrics.histograms import TRUTH, answer_curves
from apo.model import runtime
from apo.model.checkpoint import load_reward_model
from apo.scoring.rewards import score_answers


def main(
    round: str,
    base_rm: Path,
    apo_rm: Path,
    answers: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    resamples, seed = read_section(params, "evaluate", Evaluate).bootstrap, read_seed(params)
    device = runtime.set_up()
    llms = read_arms(answers)
    payoff: dict[str, dict[str, Row]] = {}
    for folder, checkpoint, name in (("base_rm", base_rm, "base_rm"), ("apo_rm", apo_rm, f"apo_rm_{round}")):
        # The pieces carry the name of the RM: every round finds the rewards of the base RM computed.
        key = fingerprint([runtime.numerics()], [checkpoint, answers])
        with open_chunks(f"payoff_{name}", key) as chunks:
            model = load_reward_model(checkpoint).to(device).eval()
            counts: dict[str, Counter[str]] = {llm: Counter() for llm in llms}
            scored = {
                llm: score_answers(
                    model, rows, desc=f"{name} of {llm}", key="rewards", counts=counts[llm], chunks=chunks
                )
                for llm, rows in llms.items()
            }
        payoff[name] = payoff_row(scored, counts, seed=seed, resamples=resamples)
        for curve, rows in answer_curves(scored, "rewards").items():
            write_csv(curves / folder / f"{curve}.csv", rows, TRUTH if curve == "truth" else ())
    write_rows(out, ({"rm": rm, "llm": llm, **row} for rm, of in payoff.items() for llm, row in of.items()))
    write_json(metrics, {f"payoff_{round}": payoff})


if __name__ == "__main__":
    run(main)
