"""`python -m apo.report report.html`: the report on what is there of a run in this folder.

It reads the files of the stages where they stand, shows those that it finds and says which are missing. Stage
`report` makes the same page of a whole run. With `--plots FOLDER` each plot is written as an SVG file too.
"""

import argparse
import re
import sys
from functools import reduce
from pathlib import Path

from apo.core.config import check_rounds, read_all, read_section, read_seed
from apo.core.errors import UserError
from apo.core.records import write_text
from apo.report.collect import gather_round
from apo.report.figures import figures
from apo.report.page import build_page
from apo.report.run import Run, read_found
from apo.report.settings import Report
from apo.report.transcript_counts import at_most

START = (
    "data",
    "split",
    "backbone",
    "actor",
    "train_base_rm",
    "test_rm",
    "answer_actor",
    "payoff_base",
    "judge",
)
CURVES = ("backbone.csv", "actor.csv", "train_base_rm", "test_rm", "payoff_base")


def gather_all(rounds: list[str]) -> Run:
    """All of the run in the working folder."""
    start = read_found(
        [Path(f"metrics/{name}.json") for name in START], [Path(f"metrics/curves/{name}") for name in CURVES]
    )
    return reduce(Run.__add__, (gather_here(one) for one in rounds), start)


def gather_here(one: str) -> Run:
    """A round of the run in the working folder."""

    def of_arms(kind: str) -> dict[str, Path]:
        return {arm: Path(f"data/{kind}/{one}/{arm}.jsonl") for arm in ("base", "apo")}

    return gather_round(
        one,
        metrics=[Path(f"metrics/{one}")],
        curves=[Path(f"metrics/curves/{one}")],
        golden=Path("data/raw/golden.jsonl"),
        truth=Path("data/raw/truth.json"),
        rm_samples=Path(f"data/samples/{one}/rm.jsonl"),
        samples=of_arms("samples"),
        scores=of_arms("scores"),
        selected=of_arms("rjs"),
        answers=[Path("data/evaluate/r0"), Path(f"data/answers/{one}/base"), Path(f"data/answers/{one}/apo")],
    )


def main(out: Path, plots: Path | None = None, params: Path = Path("params.yaml")) -> None:
    check_rounds(params)
    settings, limit = read_all(params), read_section(params, "report", Report).max_transcripts
    rounds = [one["id"] for one in settings["rounds"]]
    run = gather_all(rounds)
    shown = at_most(run.transcripts, limit, seed=read_seed(params))
    write_text(out, build_page(run, shown, settings))
    print(f"{out}: {len(shown)} of {len(run.transcripts)} transcripts")
    if plots:
        drawn = figures(run.curves, run.metrics, rounds)
        for figure in drawn:
            name = re.sub(r"\W+", "-", figure.caption.lower()).strip("-")
            write_text(plots / f"{name}.svg", figure.svg.replace("<svg ", "<svg style='background:#fff' ", 1))
        print(f"{plots}: {len(drawn)} plots")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the report on what is there of a run")
    parser.add_argument("out", type=Path, help="the HTML file to write")
    parser.add_argument("--plots", type=Path, help="a folder for the plots, each an SVG file")
    arguments = parser.parse_args()
    try:
        main(arguments.out, arguments.plots)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
