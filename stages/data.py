"""data: brings the raw data into one form.

In: the demo world of this project, files of the user, or a data set of a hub (params `data`).
Out: `data/raw/`: comparisons, golden, samples, demonstrations, documents, truth. A source that has none
of a kind leaves its file empty. Metrics: what was read, and what was dropped by which rule.
"""

import tempfile
from pathlib import Path

from apo.config import Data, read_section, read_seed
from apo.errors import UserError
from apo.raw import read_demo, read_files, read_hub
from apo.records import write_json, write_rows
from apo.stage import run


def main(input: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    data = read_section(params, "data", Data)
    unused = [path.name for path in input.iterdir() if path.name != "README.md"]
    if data.source != "files" and unused:
        raise UserError(
            str(input),
            found=f"{len(unused)} files such as {unused[0]!r} that data.source {data.source!r} does not read",
            expected="no files, or `data.source: files`",
            do="name the files in params.yaml under data.files, or move them away",
        )
    with tempfile.TemporaryDirectory() as scratch:
        if data.source == "demo":
            raw = read_demo(data.demo, seed=read_seed(params))
        elif data.source == "files":
            raw = read_files(data.files, input)
        else:
            raw = read_hub(data.hub, Path(scratch))
        rows = {
            name: write_rows(out / f"{name}.jsonl", getattr(raw, name))
            for name in ("comparisons", "golden", "samples", "demonstrations", "documents")
        }
    write_json(out / "truth.json", raw.truth)
    write_rows(out / "dropped.jsonl", raw.findings)
    files = {name: dict(sorted(counts.items())) for name, counts in raw.counts.items()}
    write_json(metrics, {"data": {"rows": rows, "files": files, "dropped": len(raw.findings)}})


if __name__ == "__main__":
    run(main)
