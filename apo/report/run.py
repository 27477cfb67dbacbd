"""What the report shows of a run: metrics, curves and transcripts, of the rounds so far."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row, decoded, read_rows, write_json, write_rows

Curve = list[dict[str, str]]


@dataclass(frozen=True)
class Run:
    """A part of a run, or all of it.

    Attributes:
        metrics: The metrics files as one document, by their top-level keys.
        curves: Rows of the CSV files by name: `actor`, `r1/train_apo_rm/training`.
        transcripts: Rows as `apo.report.transcripts` makes them.
        missing: Files that are not there.
    """

    metrics: dict[str, Any]
    curves: dict[str, Curve]
    transcripts: list[Row]
    missing: list[str]

    def __add__(self, other: "Run") -> "Run":
        return Run(
            self.metrics | other.metrics,
            self.curves | other.curves,
            self.transcripts + other.transcripts,
            self.missing + other.missing,
        )


NOTHING = Run({}, {}, [], [])


def read_found(metrics: Iterable[Path], curves: Iterable[Path]) -> Run:
    """The metrics and curves that are there, of files and of whole folders; of the rest, what is missing."""
    run = NOTHING
    for path in metrics:
        for file in _files(path, "*.json"):
            run = run + Run(_document(file), {}, [], [] if file.is_file() else [file.as_posix()])
    for path in curves:
        for file in _files(path, "**/*.csv"):
            if file.is_file():
                run = run + Run({}, {curve_name(file): _curve(file)}, [], [])
            else:
                run = run + Run({}, {}, [], [file.as_posix()])
    return run


def curve_name(file: Path) -> str:
    """`r1/align_apo` for `metrics/curves/r1/align_apo.csv`."""
    parts = file.with_suffix("").parts
    return "/".join(parts[parts.index("curves") + 1 :] if "curves" in parts else parts[-1:])


def write_run(folder: Path, run: Run) -> None:
    """Writes `run.json` and `transcripts.jsonl` into a folder."""
    write_json(folder / "run.json", {"metrics": run.metrics, "curves": run.curves, "missing": run.missing})
    write_rows(folder / "transcripts.jsonl", run.transcripts)


def read_run(folder: Path) -> Run:
    """What `write_run` wrote."""
    content = _document(folder / "run.json")
    try:
        return Run(transcripts=list(read_rows(folder / "transcripts.jsonl", "query_id", "query")), **content)
    except TypeError:
        raise UserError(
            str(folder),
            found=f"{', '.join(content) or 'nothing'} in run.json",
            expected="metrics, curves and missing",
            do="run `dvc repro`: stages gather_start and gather write it",
        ) from None


def _files(path: Path, pattern: str) -> list[Path]:
    return sorted(path.glob(pattern)) if path.is_dir() else [path]


def _document(file: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(decoded(file.read_bytes(), where=str(file)))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(
            str(file), found="no JSON object", expected="one", do="run the stage that writes it again"
        )
    return content


def _curve(file: Path) -> Curve:
    return list(csv.DictReader(decoded(file.read_bytes(), where=str(file)).splitlines()))
