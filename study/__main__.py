"""One command, the study: `make study`, or `python -m study [--quick] [--workers N] [--report]`.

Plays every game of `settings.yaml` that has no result yet, in `.cache/study/`, then writes `results.jsonl`
and `docs/results.md`. Stopped and started again, it goes on with the next game. A quick run only prints.
"""

import argparse
import sys
from pathlib import Path

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from study.numbers import Row, row_of
from study.play import ROOT
from study.report import blocks, put_into
from study.run import cores, read_kept, run
from study.settings import Settings, part_of, quick_settings, read_settings

FOLDER = ROOT / ".cache/study"
RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = ROOT / "docs/results.md"


def main(*, quick: bool, report_only: bool, workers: int, seeds: list[int], only: list[str]) -> None:
    """Plays and reports."""
    settings = read_settings()
    folder = FOLDER
    if quick:
        settings, folder = quick_settings(settings), folder / "quick"
    failed = 0 if report_only else run(part_of(settings, seeds=seeds, names=only), folder, workers)
    rows = [row_of(result) for result in read_kept(settings, folder)]
    if quick:
        print("\n\n".join(f"{name}\n{text}" for name, text in blocks(rows, settings).items()))
    else:
        report(rows, settings)
    if failed:
        sys.exit(f"error: {failed} games failed, see above; the next `make study` tries them again")


def report(rows: list[Row], settings: Settings) -> None:
    """Writes the numbers and the page; without a result of this code, the page from the numbers as they are.

    Raises:
        UserError: There are no numbers.
    """
    if rows:
        write_rows(RESULTS, rows)
    elif not RESULTS.is_file():
        raise UserError(
            str(RESULTS),
            found="nothing",
            expected="the numbers of a study",
            do="run `make study` without --report",
        )
    page = put_into(PAGE.read_text(encoding="utf-8"), blocks(list(read_rows(RESULTS)), settings), PAGE)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny games, two seeds; prints, writes nothing")
    parser.add_argument("--report", action="store_true", help="play nothing, report what is there")
    parser.add_argument("--workers", type=int, default=cores(), help="games at a time, one thread each")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="these alone; others elsewhere")
    parser.add_argument("--only", nargs="*", default=[], help="methods and places of the map by their names")
    arguments = parser.parse_args()
    try:
        main(
            quick=arguments.quick,
            report_only=arguments.report,
            workers=arguments.workers,
            seeds=arguments.seeds,
            only=arguments.only,
        )
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
