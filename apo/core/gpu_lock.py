"""One GPU for each stage that runs concurrently, as with `dvc queue start -j 4`.

APO_GPUS names the GPUs that stages may take (docs/where.md).

A stage takes a GPU with an flock on a file named after the GPU. All processes of this user on this machine
use the same folder of lock files. The operating system releases the lock when the process ends.
"""

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from apo.core import distributed
from apo.core.errors import UserError

_LOCK_FD = "APO_GPU_TAKEN"  # the descriptor of the lock file; set for this process and its children


def take_one() -> None:
    """Takes a GPU of APO_GPUS and executes this process again with that GPU alone visible.

    It waits while all GPUs are taken. It takes none in a stage that did not import torch, with another
    APO_DEVICE, or in a child process of a stage that has a GPU. The process executes again because CUDA
    counts the GPUs once, and a library may have initialized CUDA on import.

    Raises:
        UserError: APO_GPUS is not a list of distinct names, or the lock folder is not writable. APO_GPUS and
            APO_LAUNCH are both set; every stage refuses that, so the first stage reports it.
    """
    names = os.environ.get("APO_GPUS", "")
    on_gpu = os.environ.get("APO_DEVICE", "cuda").startswith("cuda")
    if not names or not on_gpu:
        return
    launcher = os.environ.get("APO_LAUNCH", "").strip()
    if launcher or distributed.launched():
        raise UserError(
            "APO_GPUS",
            found=f"APO_LAUNCH={launcher!r} beside it",
            expected="only one of APO_GPUS and APO_LAUNCH",
            do="unset APO_LAUNCH for a sweep with one GPU per stage, or APO_GPUS for stages on several GPUs; "
            "CUDA_VISIBLE_DEVICES selects the GPUs of a launcher's processes",
        )
    if "torch" not in sys.modules or _LOCK_FD in os.environ:
        return
    gpu, lock = _wait_for_gpu([name.strip() for name in names.split(",")])
    os.set_inheritable(lock, True)
    os.environ |= {_LOCK_FD: str(lock), "CUDA_VISIBLE_DEVICES": gpu}
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _wait_for_gpu(gpus: list[str]) -> tuple[str, int]:
    """The first free GPU, and the descriptor of its lock file."""
    if "" in gpus or len(set(gpus)) < len(gpus):
        raise UserError(
            "APO_GPUS",
            found=repr(os.environ["APO_GPUS"]),
            expected="distinct GPUs separated by commas, such as 0,1,2,3",
            do="fix it or unset it",
        )
    logged = False
    while True:
        for gpu in gpus:
            if (lock := _lock(gpu)) is not None:
                return gpu, lock
        if not logged:
            print(f"waiting for a GPU: {', '.join(gpus)} are taken", file=sys.stderr, flush=True)
            logged = True
        time.sleep(0.5)


def _lock(gpu: str) -> int | None:
    """The descriptor of a GPU's locked file, or None if another process holds the lock."""
    folder = Path(tempfile.gettempdir()) / f"apo-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / quote(gpu, safe=""), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(
            str(folder),
            found=str(error.strerror),
            expected="a folder for one small file per GPU",
            do="check its permissions, or set TMPDIR to the same folder for all tasks",
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
