"""Where a computation keeps what it has done so far, so that a killed stage resumes.

DVC removes the outputs of a stage before it runs it. What is kept therefore lies in `.cache/` of the
repository, in a folder whose name holds a hash of everything that the stage computes from.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from apo.core import distributed
from apo.core.errors import UserError

CODE = Path(__file__).parents[1]


def loaded_code() -> list[Path]:
    """The files of this package that are imported: a state of other code is another computation."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({path for name in files if name and (path := Path(name)).is_relative_to(CODE)})


def fingerprint(settings: Iterable[Any], files: Iterable[Path]) -> str:
    """A hash over settings (by their representation), the content of files and folders, and the code."""
    digest = hashlib.sha256()
    versions = [
        f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "tokenizers", "peft")
    ]
    digest.update(repr([*versions, *settings]).encode())
    for path in files:
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            _add(digest, str(member.relative_to(path)), member)
    for path in loaded_code():
        _add(digest, str(path.relative_to(CODE)), path)
    return digest.hexdigest()[:24]


def _add(digest: Any, name: str, path: Path) -> None:
    digest.update(name.encode() + b"\0")
    with path.open("rb") as stream:
        digest.update(hashlib.file_digest(stream, "sha256").digest())


def folder_of(name: str, key: str) -> Path:
    """Where a computation keeps what it has done so far.

    Args:
        name: The stage.
        key: `fingerprint` of what it computes from; another key is another computation.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "checkpoints" / f"{name}-{key}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a computation for this process; a rank is held by the process that started it.

    Raises:
        UserError: Another process runs the same computation, or the folder can't be written to.
    """
    if distributed.is_worker():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (folder / "lock").open("w")
    except OSError as error:
        raise disk_error(folder, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                str(folder),
                found="another process that runs this stage",
                expected="one at a time",
                do="wait for it or end it: `pgrep -af stages.`",
            ) from None
        yield


def remove_older(folder: Path) -> None:
    """Removes what other computations of the same stage left, all but the four newest."""
    name = folder.name.rsplit("-", 1)[0]
    others = sorted(folder.parent.glob(f"{name}-*"), key=lambda p: p.stat().st_mtime)
    for other in others[:-4]:
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def disk_error(path: Path, error: Exception) -> UserError:
    """A checkpoint that could not be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return UserError(
        str(path),
        found=reason[:120],
        expected="room for what the stage has computed so far",
        do="make room; `dvc repro` then goes on from the last checkpoint",
    )
