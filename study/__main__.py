"""One command, the study: `make study`, or `python -m study [--quick] [--workers N] [--report]`.

Plays every game of `settings.yaml` that has no result yet, in `.cache/study/`, at low priority. Then writes
`results.jsonl`, `transfer.jsonl` and the pages, and prints the power of the kept seeds. A stopped study
resumes with the next game. A quick run only prints.
"""

import argparse
import os
import sys
from pathlib import Path

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from study.jobs import jobs, part_of, read_kept
from study.paired import Row
from study.play import ROOT, code_hash
from study.power import power_note, power_table
from study.report import page, tables
from study.results import merged, merged_alignments, mixed_sets, row_of, transfer_row
from study.run import NICE, cores, results_folder, run
from study.settings import SETS, Settings, quick_settings, read_settings

FOLDER = ROOT / ".cache/study"
RESULTS = Path(__file__).with_name("results.jsonl")
TRANSFER = Path(__file__).with_name("transfer.jsonl")
DOCS = ROOT / "docs"
PAGES = ("results.md", "when.md")


def main(arguments: argparse.Namespace) -> None:
    """Plays and reports."""
    settings, folder = read_settings(), FOLDER
    if arguments.quick:
        settings, folder = quick_settings(settings), folder / "quick"
    failed, code = 0, code_hash()
    if not arguments.report:
        os.nice(NICE)
        batches = part_of(
            list(jobs(settings)), seeds=arguments.seeds, names=arguments.only, kinds=arguments.sets
        )
        failed = run(batches, folder, arguments.workers, code)
    results = read_kept(settings, results_folder(folder), code)
    rows = [row_of(result) for result in results if result["kind"] != "transfer"]
    alignments = [transfer_row(result) for result in results if result["kind"] == "transfer"]
    if arguments.quick:
        text_by_name = tables(rows, alignments, settings)
        print("\n\n".join(f"{name}\n{text}" for name, text in text_by_name.items()))
    else:
        report(rows, alignments, settings)
    if failed:
        sys.exit(f"error: {failed} games failed, see above; the next `make study` tries them again")


def report(rows: list[Row], alignments: list[Row], settings: Settings) -> None:
    """Writes the results and the pages, and prints the power. A new row replaces the kept one of its game.

    Raises:
        UserError: There are no results.
    """
    order = [(job.kind, job.name, job.seed) for batch in jobs(settings) for job in batch]
    previous = list(read_rows(RESULTS)) if RESULTS.is_file() else []
    rows = merged(previous, rows, order)
    if not rows:
        raise UserError(
            str(RESULTS),
            found="nothing",
            expected="the numbers of a study",
            do="run `make study` without --report",
        )
    previous = list(read_rows(TRANSFER)) if TRANSFER.is_file() else []
    alignments = merged_alignments(previous, alignments)
    write_rows(RESULTS, rows)
    if alignments:
        write_rows(TRANSFER, alignments)
    for name in PAGES:
        (DOCS / name).write_text(page(name, rows, alignments, settings), encoding="utf-8")
    for name, codes in mixed_sets(rows, alignments).items():
        print(f"note: {name}: games of the codes {', '.join(codes)}; games of two codes are not compared")
    print(f"What a number of seeds can decide:\n\n{power_table(rows)}\n\n{power_note()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny games, two seeds; prints, writes nothing")
    parser.add_argument("--report", action="store_true", help="play nothing, report what is there")
    parser.add_argument("--workers", type=int, default=cores(), help="games at a time, one thread each")
    parser.add_argument("--sets", nargs="*", default=[], choices=SETS, help="only these sets of games")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="only these seeds")
    parser.add_argument("--only", nargs="*", default=[], help="only these methods and settings, by name")
    try:
        main(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
