"""plots: one table for each plot of `dvc plots show`, over all models and rounds.

In: the curves that were gathered of all rounds, and those of the base RM's payoff. Out: `metrics/plots/`:
rm_training, llm_training, reliability, rewards, margins, golden_samples, truth (demo; else without rows) and
rounds, in CSV. Computes no number that the curves don't hold, but for means over steps and the intervals of
the reliability curves.
"""

from pathlib import Path

from apo.core.config import check_rounds
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.plots.tables import COLUMNS, join
from apo.report.run import read_found, read_run


def main(gathered: Path, payoff_base: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    whole = read_run(gathered) + read_found([], [payoff_base])
    tables = join(whole.curves, check_rounds(params))
    for name, columns in COLUMNS.items():
        write_csv(out / f"{name}.csv", tables[name], columns)


if __name__ == "__main__":
    run(main)
