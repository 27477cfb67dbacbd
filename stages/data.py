"""data: brings the raw data into one form.

In: the demo world of this project, files of the user, or a data set of a hub (params `data`).
Out: `data/raw/`: comparisons, golden, samples, demonstrations, documents, truth. A source that has none
of a kind leaves its file empty. Metrics: what was read, and what was dropped by which rule.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from apo.config import Data, read_section, read_seed
from apo.raw import read_demo, read_files, read_hub, refuse_unread
from apo.records import Row, write_json, write_parts
from apo.stage import run


def main(input: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    data = read_section(params, "data", Data)
    seed = read_seed(params)
    refuse_unread(data, input)
    with tempfile.TemporaryDirectory() as scratch:
        if data.source == "demo":
            raw = read_demo(data.demo, seed=seed)
        elif data.source == "files":
            raw = read_files(data.files, input)
        else:
            raw = read_hub(data.hub, Path(scratch), watched=input)

        def rows() -> Iterator[tuple[str, Row]]:
            for name in names:
                yield from ((name, row) for row in getattr(raw, name))
            yield from (("dropped", row) for row in raw.findings)

        names = ("comparisons", "golden", "samples", "demonstrations", "documents")
        counts = write_parts({name: out / f"{name}.jsonl" for name in (*names, "dropped")}, rows())
    write_json(out / "truth.json", raw.truth)
    files = {name: dict(sorted(found.items())) for name, found in raw.counts.items()}
    dropped = counts.pop("dropped")
    write_json(metrics, {"data": {"rows": counts, "files": files, "dropped": dropped}})


if __name__ == "__main__":
    run(main)
