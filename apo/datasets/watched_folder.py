"""Checks of the folder `data.dir`, which DVC watches: named files are inside it, and all files are read."""

import os
from pathlib import Path

from apo.core.errors import UserError
from apo.datasets.settings import Data

_COPY = "it holds what Git tracks"


def check_name(name: str, folder: Path, *, twice: bool, where: str) -> None:
    """Checks that a file is named once and is inside the folder that DVC watches, links resolved.

    Raises:
        UserError: The file is named twice, outside the folder, or missing in the copy of an experiment.
    """
    if twice or not is_inside(folder / name, folder):
        raise UserError(
            where,
            found=f"{name!r:.200} {'twice' if twice else f'outside {folder}'}",
            expected=f"names of different files inside {folder}, which DVC watches",
            do="remove one of them" if twice else "move the file there; a link has to stay in the folder",
        )
    if not (folder / name).exists() and (original := _original_of(folder / name)):
        raise UserError(
            where,
            found=f"no {name!r:.200} in the copy of the repository that this experiment runs in: {_COPY}",
            expected=f"the file {original}",
            do=f"run `git add {folder / name}` first, or `dvc exp run` with `-C {folder / name}`",
        )


def _original_of(path: Path) -> Path | None:
    """The same file in the original repository, if an experiment runs in a copy; None if there is none."""
    here = Path.cwd()
    roots = [Path(os.environ["DVC_ROOT"])] if os.environ.get("DVC_ROOT") else []
    roots += [parent.parents[2] for parent in here.parents if parent.parts[-3:] == (".dvc", "tmp", "exps")]
    if path.is_absolute():
        path = path.relative_to(here) if path.is_relative_to(here) else path
    originals = (root / path for root in roots if root.resolve() != here.resolve())
    return next((original for original in originals if original.exists()), None)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is inside a folder, both as written and with all links resolved."""
    if ".." in path.parts or "\0" in str(path):
        return False
    real = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    return real and path.absolute().is_relative_to(folder.absolute())


def check_folder(data: Data, folder: Path) -> None:
    """Checks that the source reads the files in the watched folder.

    Raises:
        UserError: There is no such folder, or it holds files that the source does not read.
    """
    if not folder.is_dir():
        if not folder.exists() and (original := _original_of(folder)):
            raise UserError(
                str(folder),
                found=f"no such folder in the copy of the repository that this experiment runs in: {_COPY}",
                expected=f"the folder {original}",
                do=f"run `git add {folder}` first, or `dvc exp run` with `-C {folder}`",
            )
        raise UserError(
            str(folder),
            found="a file" if folder.exists() else "no such folder",
            expected="the folder data.dir, which DVC watches",
            do="make it, empty if there are no files of your own, or correct data.dir in params.yaml",
        )
    if data.source in ("files", "authors") or (data.source == "hub" and Path(data.hub.path).is_dir()):
        return
    unread = sorted(
        path.name for path in folder.iterdir() if path.name[0] != "." and path.name != "README.md"
    )
    if unread:
        raise UserError(
            str(folder),
            found=f"{len(unread)} files such as {unread[0]!r} that data.source {data.source!r} does not read",
            expected="no files, or `data.source: files`",
            do="name the files in params.yaml under data.files, or move them away",
        )
