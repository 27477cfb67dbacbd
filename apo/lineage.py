"""Where a result came from: the tree back to the raw data, every hash on the way held against the files.

    python -m apo.lineage models/rm_apo/r1
    python -m apo.lineage data/rjs/r1/apo.jsonl

To be run in the repository root, on a checkpoint or a records file. Each file is `ok`, `CHANGED` (other bytes
than recorded), `MISSING`, or `NEW` (in a folder of the stage, but not recorded); `raw` is what no stage
makes. Exit code 0 if all are ok; otherwise 1, and each that is not is named on a line at the end. Code and
parameters that have changed since count too: the result is not theirs then, and `dvc repro` makes it anew.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

from apo.core.config import read_value
from apo.core.errors import UserError
from apo.core.provenance import SUFFIX, files_of, find_provenance, read_provenance, sha256_of
from apo.core.records import Row


class Lineage:
    """A walk from a provenance file back to the raw data.

    A file that one stage wrote and another read is held against what both recorded.

    Args:
        stages: `dvc.yaml`, which says what stages make.

    Attributes:
        bad: Each file or parameter that is not as it was recorded, with the reason.
    """

    def __init__(self, stages: Path) -> None:
        read = read_value(stages, "stages").values()
        made = [out for stage in read for out in stage.get("do", stage)["outs"]]
        self.bad: dict[str, str] = {}
        self._made = [re.sub(r"\$\{[^}]*\}", "*", out) for out in made]
        self._digests: dict[str, str] = {}
        self._shown: dict[Path, str] = {}

    def lines(self, source: Path, indent: str = "") -> Iterator[str]:
        """The tree below one provenance file; what is shared is shown once."""
        record = read_provenance(source)
        stage = self._shown[source] = record["stage"]
        yield f"{indent}{source.as_posix().removesuffix(SUFFIX)}, made by stage {stage}"
        for name, digest in self._files(record, "outputs"):
            yield f"{indent}  wrote  {self._mark(name, digest, stage):8}{name}"
        yield from (f"{indent}  {line}" for line in self._computed_from(record))
        makers: dict[Path | None, list[tuple[str, str]]] = {}
        for name, digest in self._files(record, "inputs"):
            makers.setdefault(self._maker(name), []).append((name, digest))
        for maker, files in makers.items():
            for name, digest in files:
                origin = "" if maker else "  (no provenance)" if self._is_made(name) else "  (raw)"
                yield f"{indent}  read   {self._mark(name, digest, stage):8}{name}{origin}"
            if maker in self._shown:
                yield f"{indent}    made by stage {self._shown[maker]}, shown above"
            elif maker:
                yield from self.lines(maker, indent + "    ")

    def _computed_from(self, record: Row) -> Iterator[str]:
        """What is remote, code and parameters."""
        if record["remote"]:
            yield f"remote         {record['remote']['path']} at {record['remote']['revision']}"
        stage, params = record["stage"], record["arguments"].get("params", "")
        marks = {name: self._mark(name, digest, stage) for name, digest in record["code"].items()}
        yield f"code   {'ok':8}{list(marks.values()).count('ok')} files"
        yield from (f"code   {mark:8}{name}" for name, mark in marks.items() if mark != "ok")
        for name, then in record["parameters"].items():
            try:
                mark = "ok" if read_value(Path(params), name) == then else "CHANGED"
            except UserError:
                mark = "MISSING"
            yield f"params {self._noted(f'{params}: {name}', mark, stage):8}{name}"

    def _files(self, record: Row, kind: str) -> Iterator[tuple[str, str]]:
        """What was recorded with its hash, and with an empty one what lies in the same folders now."""
        yield from record[kind].items()
        for folder in record["arguments"].values():
            if any(name.startswith(f"{folder}/") for name in record[kind]):
                yield from (
                    (f.as_posix(), "") for f in files_of(Path(folder)) if f.as_posix() not in record[kind]
                )

    def _mark(self, name: str, digest: str, stage: str) -> str:
        if not Path(name).is_file():
            return self._noted(name, "MISSING", stage)
        if name not in self._digests:
            self._digests[name] = sha256_of(Path(name))
        changed = "CHANGED" if digest else "NEW"
        return self._noted(name, "ok" if self._digests[name] == digest else changed, stage)

    def _noted(self, name: str, mark: str, stage: str) -> str:
        if mark != "ok":
            self.bad.setdefault(name, f"{mark}, not as stage {stage} recorded it")
        return mark

    def _maker(self, name: str) -> Path | None:
        """The provenance of an input; none where it is raw or, which is bad, where that file is not there."""
        try:
            return find_provenance(Path(name))
        except UserError as error:
            if self._is_made(name):
                self.bad[name] = str(error)
            return None

    def _is_made(self, name: str) -> bool:
        """Whether it is an output of a stage, or in one."""
        places = [PurePath(name), *PurePath(name).parents]
        return any(place.match(pattern) for place in places for pattern in self._made)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="checkpoint, records file or folder of them")
    file = Path(os.path.relpath(parser.parse_args(arguments).file))
    try:
        lineage = Lineage(Path("dvc.yaml"))
        for line in lineage.lines(find_provenance(file)):
            print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, reason in lineage.bad.items():
        print(f"{name}: {reason}")
    if not lineage.bad:
        print("all of it as recorded")
    return 1 if lineage.bad else 0


if __name__ == "__main__":
    sys.exit(main())
