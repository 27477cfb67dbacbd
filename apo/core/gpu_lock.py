"""One GPU for each of the stages that run at a time: `dvc queue start -j 4` starts four tasks in one
environment.

APO_GPUS  the GPUs that stages may take, in the words of CUDA_VISIBLE_DEVICES: 0,1,2,3. Without it a stage
          sees what the environment shows.

A GPU is taken by an flock on a file of its name, in a folder that all processes of this user on this machine
share. The system gives it back when the process has ended, however it did.
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

_TAKEN = "APO_GPU_TAKEN"  # the open file, told to what this process becomes and starts


def take_one() -> None:
    """Takes a GPU of APO_GPUS and runs this process again from its start, where it sees no other one.

    Waits while all are taken. A stage that did not import torch computes on no GPU and takes none, nor does
    one with another APO_DEVICE, nor a process that a stage with a GPU has started. It starts again because
    CUDA counts the GPUs once, and a library may have asked for them on import.

    Raises:
        UserError: APO_GPUS is no list of different names, or the folder can't be written to. It stands beside
            APO_LAUNCH, in which case every stage is refused, so that this is told by the first.
    """
    listed = os.environ.get("APO_GPUS", "")
    on_gpu = os.environ.get("APO_DEVICE", "cuda").startswith("cuda")
    if not listed or not on_gpu:
        return
    if distributed.launcher_requested():
        raise UserError(
            "APO_GPUS",
            found=f"it beside APO_LAUNCH={os.environ['APO_LAUNCH']!r}",
            expected="one of them: a stage that takes one GPU for itself has none for other processes",
            do="unset APO_LAUNCH for a sweep with a GPU a stage, or APO_GPUS for stages on several GPUs; "
            "CUDA_VISIBLE_DEVICES says which GPUs the processes of a launcher see",
        )
    if "torch" not in sys.modules or _TAKEN in os.environ:
        return
    gpu, lock = _free_one([name.strip() for name in listed.split(",")])
    os.set_inheritable(lock, True)
    os.environ |= {_TAKEN: str(lock), "CUDA_VISIBLE_DEVICES": gpu}
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _free_one(gpus: list[str]) -> tuple[str, int]:
    """The first GPU that nobody has, and the open file that holds it."""
    if "" in gpus or len(set(gpus)) < len(gpus):
        raise UserError(
            "APO_GPUS",
            found=repr(os.environ["APO_GPUS"]),
            expected="different GPUs with commas between them, such as 0,1,2,3",
            do="correct it, or unset it",
        )
    told = False
    while True:
        for gpu in gpus:
            if (lock := _lock(gpu)) is not None:
                return gpu, lock
        if not told:
            print(f"waiting for a GPU: {', '.join(gpus)} are taken", file=sys.stderr, flush=True)
            told = True
        time.sleep(0.5)


def _lock(gpu: str) -> int | None:
    """The open file of a GPU, locked; None where another process has it."""
    folder = Path(tempfile.gettempdir()) / f"apo-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / quote(gpu, safe=""), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(
            str(folder),
            found=str(error.strerror),
            expected="a folder for one small file per GPU",
            do="look at its rights, or set TMPDIR to the same folder for all tasks",
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
