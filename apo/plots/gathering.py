"""The curves of every model of the game in one folder, which grows from round to round.

No stage can depend on a list of folders, so each round's folder holds what the last one's held and its own.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from apo.errors import UserError


def gather(out: Path, curves: Mapping[str, Sequence[Path]], *, before: Path | None = None) -> None:
    """Copies tables to `out/MODEL/`, whole or not at all.

    Args:
        out: Folder to write.
        curves: By model, CSV files, each of which becomes `training.csv`, and folders, whose CSV files keep
            their names. Of two with the same name the later stays.
        before: A folder that this function wrote; its tables come first.

    Raises:
        UserError: A file or folder is missing.
    """
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path in sorted(_there(before).iterdir()) if before else []:
        _copy(path, temporary / path.name)
    for model, paths in curves.items():
        for path in paths:
            _copy(path, temporary / model)
    shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    folder = _there(source).is_dir()
    for path in sorted(source.glob("*.csv")) if folder else [source]:
        (target / (path.name if folder else "training.csv")).write_bytes(path.read_bytes())


def _there(source: Path) -> Path:
    if not source.exists():
        raise UserError(
            str(source),
            found="no such file or folder",
            expected="the curves of a stage",
            do="run `dvc repro`: an earlier stage writes them",
        )
    return source
