"""tables: one table for each plot of `dvc plots show`, over all models of the rounds so far.

In: the curves of round zero and of this round, the tables of the round before. Out: `metrics/tables/ROUND/`:
rm_training, llm_training, reliability, rewards, margins, golden_samples, truth (demo; else without rows) and
rounds, in CSV. The numbers are those of the curves, except means over steps and the intervals of the
reliability curves.
"""

from pathlib import Path

from apo.core.config import check_rounds
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.plots.tables import COLUMNS, join, read_curves, read_tables


def main(
    round: str,
    start: Path,
    this: Path,
    before: Path,
    out: Path,
    params: Path = Path("params.yaml"),
) -> None:
    rounds = check_rounds(params)
    curves = read_curves({"r0": start, round: this})
    for name, rows in join(curves, round, rounds=rounds, before=read_tables(before)).items():
        write_csv(out / f"{name}.csv", rows, COLUMNS[name])


if __name__ == "__main__":
    run(main)
