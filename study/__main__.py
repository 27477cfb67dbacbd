"""One command, the study: `make study`, or `python -m study [--quick] [--workers N] [--report]`.

Plays every game of `settings.yaml` that has no result yet, in `.cache/study/`, then writes `results.json` and
`docs/results.md`. Stopped and started again, it goes on with the next game. A quick run only prints.
"""

import argparse
import sys
from pathlib import Path

from apo.errors import UserError
from study.run import cores, run
from study.settings import quick_settings, read_settings

FOLDER = Path(".cache/study")


def main(*, quick: bool, report_only: bool, workers: int) -> None:
    """Plays and reports."""
    settings = read_settings()
    folder = FOLDER.absolute()
    if quick:
        settings, folder = quick_settings(settings), folder / "quick"
    failed = 0 if report_only else run(settings, folder, workers)
    if failed:
        sys.exit(f"error: {failed} games failed, see above; the next `make study` tries them again")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny games, two seeds; prints, writes nothing")
    parser.add_argument("--report", action="store_true", help="play nothing, report what is there")
    parser.add_argument("--workers", type=int, default=cores(), help="games at a time, one thread each")
    arguments = parser.parse_args()
    try:
        main(quick=arguments.quick, report_only=arguments.report, workers=arguments.workers)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
