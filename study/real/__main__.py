"""The game with a chat model on real comparisons: `python -m study.real --data FOLDER --model FOLDER`.

Plays every job of `settings.yaml` that has no result yet, in `.cache/study/real/`, at low priority. Then
writes `results.jsonl` and docs/real_model.md. A stopped run resumes with the next job, and in it with the
next stage.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from study.jobs import part_of
from study.paired import Row
from study.play import ROOT, code_hash
from study.real.files import check_sources
from study.real.jobs import real_jobs
from study.real.report import page
from study.real.settings import RealSettings, read_real_settings
from study.results import rounded
from study.run import NICE, cores, results_folder, run

FOLDER = ROOT / ".cache/study/real"
RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = ROOT / "docs/real_model.md"


def main(arguments: argparse.Namespace) -> None:
    """Plays and reports."""
    settings, failed, code = read_real_settings(), 0, code_hash()
    batches = list(real_jobs(settings, arguments.data, arguments.model))
    if not arguments.report:
        check_sources(settings, arguments.data, arguments.model)
        os.nice(NICE)
        chosen = part_of(batches, seeds=arguments.seeds, names=arguments.only)
        failed = run(chosen, FOLDER, arguments.workers, code)
    jobs = [job for batch in batches for job in batch]
    kept = {(row["kind"], row["name"], row["seed"]): row for row in kept_rows(settings)}
    for job in jobs:
        path = results_folder(FOLDER) / f"{job.key(code)}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            kept[job.kind, job.name, job.seed] = result_row(result, settings)
    rows = [kept[key] for job in jobs if (key := (job.kind, job.name, job.seed)) in kept]
    if rows:
        write_rows(RESULTS, rows)
    PAGE.write_text(page(rows, settings), encoding="utf-8")
    if failed:
        sys.exit(f"error: {failed} jobs failed, see above; the same command tries them again")


def result_row(result: Row, settings: RealSettings) -> Row:
    """A row of `results.jsonl`: the result of a job, without the fields that only the cache needs."""
    row = {key: value for key, value in result.items() if key != "spec"}
    marks = {"code": result["code"][:12], "settings": settings.digest()}
    return {key: rounded(value) for key, value in row.items()} | marks


def kept_rows(settings: RealSettings) -> list[Row]:
    """The rows of `results.jsonl` that these settings gave; the number of others is printed."""
    rows = list(read_rows(RESULTS)) if RESULTS.is_file() else []
    kept = [row for row in rows if row["settings"] == settings.digest()]
    if len(kept) < len(rows):
        print(f"{len(rows) - len(kept)} of {len(rows)} kept rows are of other settings, and are dropped")
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m study.real", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/input"), help="the folder with the files")
    parser.add_argument("--model", type=Path, default=Path("pretrained/chat"), help="a chat model's folder")
    parser.add_argument("--report", action="store_true", help="play nothing, report what is there")
    parser.add_argument("--workers", type=int, default=cores(), help="games at a time, one thread each")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="only these seeds")
    parser.add_argument("--only", nargs="*", default=[], help="only these models and methods, by name")
    try:
        main(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
