"""curves_base: the curves of round zero, of all models that are there before the game.

In: the training curves of backbone and actor, the curves of base RM and testing RM, what the base RM thinks
of every answer. Out: a folder with a folder of tables for each model, which the first round adds to.
"""

from pathlib import Path

from apo.plots.gathering import gather
from apo.stage import run


def main(backbone: Path, actor: Path, base_rm: Path, test_rm: Path, payoff: Path, out: Path) -> None:
    curves = {"backbone": [backbone], "actor": [actor], "base_rm": [base_rm, payoff], "test_rm": [test_rm]}
    gather(out, curves)


if __name__ == "__main__":
    run(main)
