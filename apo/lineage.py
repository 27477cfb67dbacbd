"""The lineage of a result: the stages back to the raw data, with every recorded hash checked.

    python -m apo.lineage models/rm_apo/r1
    python -m apo.lineage data/rjs/r1/apo.jsonl

Run it in the repository, on an output of a stage or a file inside one. `dvc.lock` has the hash of every
input, output, parameter and code folder of each stage, and its command; DVC compares them. A line is `ok` or
the status of DVC: `modified` (or never recorded), `deleted`, `not in cache`. The exit code is 0 if all are
ok. Otherwise it is 1, and the last lines name each changed one; `dvc repro` then makes the result again.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo

from apo.core.errors import UserError


class Lineage:
    """A walk from a stage back to the raw data.

    Attributes:
        changed: The status of each file, folder, parameter or command that is not as recorded.
    """

    def __init__(self, repo: Repo) -> None:
        self.changed: dict[str, str] = {}
        self._listed: set[str] = set()
        self._graph, self._root = repo.index.graph, Path(repo.root_dir)

    def lines(self, stage: Any, indent: str = "") -> Iterator[str]:
        """The tree below one stage; a shared stage is shown once."""
        self._listed.add(_title(stage))
        earlier = sorted(self._graph.successors(stage), key=_title)
        yield f"{indent}stage {_title(stage)}{self._command_state(stage)}"
        for out in stage.outs:
            yield f"{indent}  wrote  {self._state(stage, out)}"
        for dependency in stage.deps:
            yield f"{indent}  read   {self._state(stage, dependency)}"
            for source in earlier:
                if not any(_overlap(Path(dependency.fs_path), Path(out.fs_path)) for out in source.outs):
                    continue
                if _title(source) in self._listed:
                    yield f"{indent}    made by stage {_title(source)}, shown above"
                else:
                    yield from self.lines(source, indent + "    ")

    def _command_state(self, stage: Any) -> str:
        if not stage.cmd_changed:
            return ""
        self.changed[f"command of stage {_title(stage)}"] = "modified"
        return "  modified command"

    def _state(self, stage: Any, dependency: Any) -> str:
        """An input or output with its status and its hash; parameters with their names."""
        path = Path(dependency.fs_path)
        name = (path.relative_to(self._root) if path.is_relative_to(self._root) else path).as_posix()
        states = dependency.status().get(str(dependency), {})
        states = {name: states} if isinstance(states, str) else states
        for key, state in states.items():
            self.changed[key if key == name else f"{name}: {key}"] = f"{state}, stage {_title(stage)}"
        status = "/".join(sorted(set(states.values()))) or "ok"
        if isinstance(dependency, ParamsDependency):
            return f"{status:10}{name}: {', '.join(dependency.params)}"
        digest = dependency.hash_info.value if dependency.hash_info else ""
        return f"{status:10}{name}  {digest}".rstrip()


def _title(stage: Any) -> str:
    """Its name in dvc.yaml, or the file of `dvc add`."""
    return getattr(stage, "name", None) or str(stage.addressing)


def _overlap(first: Path, second: Path) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return first == second or first in second.parents or second in first.parents


def find_stage(repo: Repo, path: Path) -> Any:
    """The stage that writes a file, or the folder with the file.

    Raises:
        UserError: No stage does.
    """
    target = Path(os.path.normpath(path.absolute()))
    for stage in repo.index.stages:
        outs = [Path(out.fs_path) for out in stage.outs]
        if target in outs or (target.exists() and any(out in target.parents for out in outs)):
            return stage
    raise UserError(
        str(path),
        found="no stage of dvc.yaml that writes it" if path.exists() else "no such file",
        expected="an output of a stage: a checkpoint, a records file, or a file in one",
        do="correct the name, or run `dvc repro`, which writes it",
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
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
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for name, state in lineage.changed.items():
        print(f"{name}: {state}")
    if not lineage.changed:
        print("all of it as recorded")
    return 1 if lineage.changed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    sys.exit(main())
