"""The folder of a computation's intermediate state, from which an interrupted stage resumes.

DVC removes the outputs of a stage before it runs the stage. So the state is in `.cache/` of the repository.
The name of its folder has a hash of everything that the stage computes from.
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
    """The imported files of this package. Changed code means another computation with another state."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(Path(name) for name in files if name and name.startswith(f"{CODE}{os.sep}"))


def fingerprint(settings: Iterable[Any], files: Iterable[Path]) -> str:
    """A hash of settings (by their `repr`), library versions, files, folders, and the imported code."""
    digest = hashlib.sha256()
    versions = [
        f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "tokenizers", "peft")
    ]
    digest.update(repr([*versions, *settings]).encode())
    for path in files:
        files_of_path = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files_of_path:
            _update_digest(digest, str(file.relative_to(path)), file)
    for path in loaded_code():
        _update_digest(digest, str(path.relative_to(CODE)), path)
    return digest.hexdigest()[:24]


def _update_digest(digest: Any, name: str, path: Path) -> None:
    digest.update(name.encode() + b"\0")
    with path.open("rb") as stream:
        digest.update(hashlib.file_digest(stream, "sha256").digest())


def cache_folder(name: str) -> Path:
    """A folder in the cache of the repository, which experiments in other folders share."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / name


def folder_of(name: str, key: str) -> Path:
    """The folder of a computation's intermediate state.

    Args:
        name: The stage.
        key: `fingerprint` of its inputs. Another key means another computation.
    """
    return cache_folder("checkpoints") / f"{name}-{key}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a computation. Rank 0 takes the lock, and the others wait for it.

    Once the computation has finished, rank 0 removes the state of older ones of the same stage.

    Raises:
        UserError: Another process runs the same computation, or the folder is not writable.
    """
    if not distributed.is_main_process():
        distributed.barrier()
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
                do="wait for it or stop it; `pgrep -af stages.` lists it",
            ) from None
        os.utime(folder)  # a resumed computation is the newest
        distributed.barrier()
        yield
        _remove_older(folder)


def _remove_older(folder: Path) -> None:
    """Removes the states of the same stage, except the four newest and those of running computations."""
    name = folder.name.rsplit("-", 1)[0]
    times = {}
    for state in folder.parent.glob(f"{name}-*"):
        if state.name.rsplit("-", 1)[0] == name:  # the id of another round may begin with this one
            with contextlib.suppress(FileNotFoundError):  # removed by another process
                times[state] = state.stat().st_mtime
    for state in sorted(times, key=times.__getitem__)[:-4]:
        if state != folder:
            with contextlib.suppress(OSError), (state / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(state, ignore_errors=True)


def disk_error(path: Path, error: Exception) -> UserError:
    """The error for a checkpoint that can't be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return UserError(
        str(path),
        found=reason[:120],
        expected="disk space for a checkpoint",
        do="make room; `dvc repro` then resumes from the last checkpoint",
    )
