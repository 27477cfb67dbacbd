"""plots: one table for each plot of `dvc plots show`, over all models and rounds.

In: the curves of all rounds. Out: `metrics/plots/`: rm_training, llm_training, reliability, rewards, margins,
golden_samples, truth (demo; else without rows) and rounds, in CSV. Computes no number that the curves don't
hold, but for means over steps and the intervals of the reliability curves.
"""

from pathlib import Path

from apo.config import check_rounds
from apo.plots.joining import COLUMNS, join
from apo.stage import run
from apo.tables import write_csv


def main(game: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    tables = join(game, check_rounds(params))
    for name, columns in COLUMNS.items():
        write_csv(out / f"{name}.csv", tables[name], columns)


if __name__ == "__main__":
    run(main)
