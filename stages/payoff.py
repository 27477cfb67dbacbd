"""payoff: the RM of one round rates the answers of every LLM of the game, of later rounds too.

In: an RM of the game, the answers of all LLMs. Out and metrics: its mean reward of each LLM, one row of the
payoff matrix RM x LLM, in which over-optimisation shows: an LLM may rise by the RM that trained it and fall
by the judge. Curves: histograms of its rewards of golden answers and of each LLM's, and (demo) the true
reward against its reward. Instances: `payoff_base` (the base RM), `payoff` (the APO RM of each round).
"""

from pathlib import Path

from apo.chunks.resumable import pieces_of
from apo.core.cache import fingerprint
from apo.core.records import write_json, write_rows
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.evaluation.payoff import payoff_row, read_arms
from apo.metrics.histograms import TRUTH, answer_curves
from apo.model import runtime
from apo.model.checkpoint import load_reward_model
from apo.scoring.rewards import score_answers


def main(round: str, rm: Path, answers: Path, out: Path, curves: Path, metrics: Path) -> None:
    arms, device = read_arms(answers), runtime.set_up()
    total = sum(map(len, arms.values()))
    with pieces_of(f"payoff_{round}", fingerprint([], [rm, answers]), queries=total) as pieces:
        model = load_reward_model(rm).to(device).eval()
        scored = {
            name: score_answers(model, rows, what=f"{round} of {name}", key="rewards", pieces=pieces)
            for name, rows in arms.items()
        }
    row = payoff_row(scored)
    write_rows(out, [{"rm": round, "llm": name, **found} for name, found in row.items()])
    for name, rows in answer_curves(scored, "rewards").items():
        write_csv(curves / f"{name}.csv", rows, TRUTH if name == "truth" else ())
    write_json(metrics, {f"payoff_{round}": row})


if __name__ == "__main__":
    run(main)
