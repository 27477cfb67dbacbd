"""curves: the curves of a round beside those of all rounds before it.

In: the curves of the rounds before, those of this round's RM and LLMs, what its RM and the testing RM think
of every answer. Out: a folder with a folder of tables for each model so far.
"""

from pathlib import Path

from apo.plots.gathering import gather
from apo.stage import run


def main(
    round: str,
    before: Path,
    apo_rm: Path,
    llm_base: Path,
    llm_apo: Path,
    payoff: Path,
    evaluate: Path,
    out: Path,
) -> None:
    curves = {
        f"apo_rm_{round}": [apo_rm, payoff],
        f"llm_base_{round}": [llm_base],
        f"llm_apo_{round}": [llm_apo],
        "test_rm": [evaluate],
    }
    gather(out, curves, before=before)


if __name__ == "__main__":
    run(main)
