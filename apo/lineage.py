"""Where a result came from: the stages back to the raw data, every hash on the way held against the files.

    python -m apo.lineage models/rm_apo/r1
    python -m apo.lineage data/rjs/r1/apo.jsonl

To be run in the repository root, on an output of a stage, or a file in one. `dvc.lock` holds the hash of
every input, output, parameter and code folder of each stage; DVC compares them. A line is `ok`, or what DVC
says: `modified`, `deleted`, `new`, `not in cache`. Exit code 0 if all are ok; otherwise 1, and each that is
not is named on a line at the end: run `dvc repro`, which makes the result anew.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from apo.core.errors import UserError


class Lineage:
    """A walk from a stage back to the raw data.

    Attributes:
        changed: Each file, folder or parameter that is not as it was recorded, with what DVC says of it.
    """

    def __init__(self, repo: Repo) -> None:
        self.changed: dict[str, str] = {}
        self._shown: set[str] = set()
        self._graph, self._root = repo.index.graph, Path(repo.root_dir)

    def lines(self, stage: Any, indent: str = "") -> Iterator[str]:
        """The tree below one stage; what is shared is shown once."""
        self._shown.add(stage.addressing)
        made = sorted(self._graph.successors(stage), key=lambda other: other.addressing)
        outs = {self._name(out): other for other in made for out in other.outs}
        yield f"{indent}stage {stage.addressing}"
        for out in stage.outs:
            yield f"{indent}  wrote  {self._state(stage, out)}"
        for dependency in stage.deps:
            source = next((o for o in outs if f"{self._name(dependency)}/".startswith(f"{o}/")), None)
            yield f"{indent}  read   {self._state(stage, dependency)}"
            if source and outs[source].addressing in self._shown:
                yield f"{indent}    made by stage {outs[source].addressing}, shown above"
            elif source:
                yield from self.lines(outs[source], indent + "    ")

    def _state(self, stage: Any, dependency: Any) -> str:
        """An input or output with what DVC says of it, and its hash."""
        name, digest = self._name(dependency), dependency.hash_info.value if dependency.hash_info else ""
        states = dependency.status().get(str(dependency), {})
        states = {name: states} if isinstance(states, str) else states
        for key, state in states.items():
            self.changed[key if key == name else f"{name}: {key}"] = f"{state}, stage {stage.addressing}"
        if getattr(dependency, "params", None) is not None:
            name = f"{name}: {', '.join(dependency.params)}"
        return f"{'/'.join(sorted(set(states.values()))) or 'ok':10}{name}  {digest or ''}".rstrip()

    def _name(self, dependency: Any) -> str:
        return Path(dependency.fs_path).relative_to(self._root).as_posix()


def find_stage(repo: Repo, path: Path) -> Any:
    """The stage that writes a file, or the folder that it is in.

    Raises:
        UserError: No stage does.
    """
    target = Path(os.path.normpath(path.absolute()))
    for stage in repo.index.stages:
        if any(target == Path(out.fs_path) or Path(out.fs_path) in target.parents for out in stage.outs):
            return stage
    raise UserError(
        str(path),
        found="no stage of dvc.yaml that writes it" if path.exists() else "no such file",
        expected="an output of a stage: a checkpoint, a records file, or a file in one",
        do="correct the name, or run `dvc repro`, which writes it",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="checkpoint, records file or file in one")
    file = parser.parse_args(arguments).file
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo() as repo:
            lineage = Lineage(repo)
            for line in lineage.lines(find_stage(repo, file)):
                print(line)
    except (UserError, DvcException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, state in lineage.changed.items():
        print(f"{name}: {state}")
    if not lineage.changed:
        print("all of it as recorded")
    return 1 if lineage.changed else 0


if __name__ == "__main__":
    sys.exit(main())
