"""data: brings the raw data into one form.

In: the demo world of this project, files of the user or the authors, or a data set of a hub (params `data`).
Out: `data/raw/`: comparisons, golden, samples, demonstrations, documents, truth. A source that has none
of a kind leaves its file empty; with `data.golden: chosen` golden answers are the preferred ones of the
comparisons. Issues: up to ten examples of each code.
Metrics: the rows that were read, the role of each column, the issues, and what was left out.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from apo.core.config import read_section, read_seed
from apo.core.data_issues import DataIssues
from apo.core.records import Row, write_json, write_parts
from apo.core.stage import run
from apo.datasets.authors import checked_files
from apo.datasets.chosen import with_chosen_golden
from apo.datasets.files import read_files
from apo.datasets.hub import fetch
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.load import KINDS, LoadedRecords, read_demo
from apo.datasets.settings import Data
from apo.datasets.watched_folder import check_folder


def main(input: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    data = read_section(params, "data", Data)
    seed = read_seed(params)
    check_folder(data, input)
    issues = DataIssues(ROW_ISSUES, data.on_issue.actions())
    with tempfile.TemporaryDirectory() as scratch:
        raw = _read(data, input, Path(scratch), issues, seed=seed)
        if data.golden == "chosen":
            raw.rows = with_chosen_golden(raw.rows, raw.counts.setdefault("chosen", Counter()))

        def rows() -> Iterator[tuple[str, Row]]:
            yield from raw.rows
            yield from (("issues", {**one, "where": _inside(one["where"], input)}) for one in issues.examples)

        counts = write_parts({name: out / f"{name}.jsonl" for name in (*KINDS, "issues")}, rows())
    write_json(out / "truth.json", raw.truth)
    files = {name: dict(sorted(found.items())) for name, found in raw.counts.items()}
    del counts["issues"]
    dropped = sum(n for found in files.values() for name, n in found.items() if name.startswith("dropped_"))
    found = {"files": files, "columns": raw.columns, "dropped": dropped, "issues": dict(issues.counts)}
    write_json(metrics, {"data": {"rows": counts, **found}})


def _read(data: Data, input: Path, scratch: Path, issues: DataIssues, *, seed: int) -> LoadedRecords:
    if data.source == "demo":
        return read_demo(data.demo, seed=seed)
    if data.source == "files":
        return read_files(data.files, input, issues, format=data.format)
    if data.source == "authors":
        return read_files(checked_files(input, samples=data.authors.samples), input, issues)
    files, display_names = fetch(data.hub, scratch, watched=input)
    return read_files(files, scratch, issues, format=data.format, display_names=display_names)


def _inside(where: str, folder: Path) -> str:
    """A place without the folder of the machine: two clones write the same."""
    return where.removeprefix(f"{folder}/")


if __name__ == "__main__":
    run(main)
