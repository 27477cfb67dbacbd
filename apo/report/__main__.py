"""`python -m apo.report`: a page and a summary of the run in this folder.

It reads the outputs of the stages in place and shows those that exist; it names the stages and files that are
missing. `make repro` calls it after `dvc repro`. With `--plots FOLDER` it writes each plot as an SVG file.
"""

import argparse
import signal
import sys
from pathlib import Path

from apo.core.config import check_rounds, read_all, read_section, read_seed
from apo.core.errors import UserError
from apo.core.records import write_text
from apo.report.figures import figures
from apo.report.missing import earlier_stages, missing_stages
from apo.report.page import build_page
from apo.report.run import read_run
from apo.report.settings import Report
from apo.report.summary import summary
from apo.report.transcripts import limit_transcripts

PAGE = Path("data/report/report.html")


def main(out: Path = PAGE, plots: Path | None = None, params: Path = Path("params.yaml")) -> None:
    """Writes the page (and the plots) and prints the summary."""
    rounds = check_rounds(params)
    settings, limit = read_all(params), read_section(params, "report", Report).max_transcripts
    run = read_run(rounds)
    displayed = limit_transcripts(run.transcripts, limit, seed=read_seed(params))
    drawn = figures(run.curves, run.metrics, rounds)
    earlier = earlier_stages(Path("dvc.lock"), settings)
    write_text(out, build_page(run, drawn, displayed, settings, earlier))
    if plots:
        for figure in drawn:
            white = figure.svg.replace("<svg ", "<svg style='background:#fff' ", 1)
            write_text(plots / f"{figure.name}.svg", white)
        print(f"{plots}: {len(drawn)} plots")
    print(summary(run.metrics, rounds))
    if missing := missing_stages(run.metrics, rounds):
        print(f"not run yet: {', '.join(missing)}")
    if earlier:
        print(f"of other parameters or inputs than now, until `dvc repro` has run: {', '.join(earlier)}")
    print(
        f"more: {out} in a browser, with {len(displayed)} of {len(run.transcripts)} transcripts; "
        "`dvc metrics show`; answers with their scores in data/evaluate/"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    parser = argparse.ArgumentParser(description="a page and a summary of the run in this folder")
    parser.add_argument("out", type=Path, nargs="?", default=PAGE, help=f"the HTML file, by default {PAGE}")
    parser.add_argument("--plots", type=Path, help="a folder for the plots, each an SVG file")
    options = parser.parse_args()
    try:
        main(options.out, options.plots)
    except UserError as error:
        sys.exit(f"error: {error}")
