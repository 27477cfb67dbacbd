"""The processes of a stage: a launcher such as torchrun starts them, and all run the same `main`.

APO_LAUNCH is the launcher with its options (docs/where.md).
A stage that computes with a model is started by `python -m stages.distributed NAME`. Every rank runs
`main` with the same arguments, computes its share, and has the same results afterwards. Rank 0 alone writes
outputs, takes locks and prints. Without a launcher there is one process, and every function here returns at
once.
"""

import ctypes
import datetime
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from apo.core.errors import UserError

T = TypeVar("T")

# Set by launchers that start several processes; torchrun sets RANK and WORLD_SIZE, also below them.
TASKS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
# Messages of gloo and the rendezvous store about a collective operation that timed out.
TIMED_OUT = re.compile(r"(?:Timed out waiting |wait timeout after )(\d+)")
DISCONNECTED = re.compile(r"Connection (?:closed|reset) by peer|Broken pipe")  # gloo, after a rank has ended
GRACE = 5  # seconds in which a launcher notices that a rank has ended, and ends the others


def launched() -> bool:
    """Whether a launcher started this process."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


def rank() -> int:
    """The rank of this process; 0 without a launcher."""
    return int(os.environ["RANK"]) if launched() else 0


def world_size() -> int:
    """The number of processes; 1 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def is_main_process() -> bool:
    """Whether this process writes and prints."""
    return rank() == 0


def start() -> None:
    """Prepares a rank: it ends with its launcher, and only rank 0 prints."""
    if not launched():
        return
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if not is_main_process():
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115


def check_launcher() -> None:
    """Raises UserError if a launcher started several processes that do not know of each other."""
    for name in TASKS:
        count = os.environ.get(name) or "1"
        if count != "1" and not launched():
            raise UserError(
                "APO_LAUNCH",
                found=f"a launcher that starts {count} processes ({name}) and sets no RANK and WORLD_SIZE",
                expected="torchrun, also under srun",
                do="write APO_LAUNCH='torchrun --standalone --nproc_per_node 2'",
            )


def init_process_group(backend: str, timeout: datetime.timedelta) -> None:
    """Joins the process group of the launcher, once. Every collective operation has the same timeout.

    Args:
        backend: `nccl` for GPUs, `gloo` for CPUs.
        timeout: How long a process waits for the others. The launcher notices a dead one within a second.
    """
    if not launched():
        return
    import torch.distributed as dist
    from torch.distributed import distributed_c10d

    if not dist.is_initialized():
        for name in ("default_pg_timeout", "default_pg_nccl_timeout"):  # for groups that DeepSpeed creates
            setattr(distributed_c10d, name, timeout)
        dist.init_process_group(backend, timeout=timeout)


def barrier() -> None:
    """Waits for all processes."""
    if _is_initialized():
        import torch.distributed as dist

        dist.barrier()


def broadcast(value: T) -> T:
    """The value of rank 0, in every process; it is pickled."""
    if world_size() == 1:
        return value
    import torch.distributed as dist

    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def all_gather(value: T) -> list[T]:
    """The values of all processes by rank, in every process; they are pickled."""
    if world_size() == 1:
        return [value]
    import torch.distributed as dist

    values = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def share(computations: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Computes in groups, one computation per process; yields all results, in order, in every process.

    All processes pass the same computations. If fewer are left than processes, the last ones compute nothing.
    """
    remaining = iter(computations)
    while group := list(itertools.islice(remaining, world_size())):
        own = [group[rank()]()] if rank() < len(group) else []
        yield from itertools.chain(*all_gather(own))


def end() -> None:
    """Ends a rank when all have arrived, without the interpreter's shutdown, in which gloo may abort."""
    if _is_initialized():
        import torch.distributed as dist

        dist.barrier()
        dist.destroy_process_group()
        _exit(0)


def fail(message: str) -> NoReturn:
    """Ends this process with a message and code 1.

    Rank 0 prints at once, and its launcher ends the others. So another rank prints only what rank 0 does not.
    """
    if not launched():
        sys.exit(message)
    if not is_main_process():
        time.sleep(GRACE)
        message = f"rank {rank()}: {message}"
    print(message, file=sys.__stderr__)
    _exit(1)


def explain_collective(error: Exception) -> UserError | None:
    """The error behind a collective operation that timed out; None for any other.

    If another rank has ended, this one waits for the launcher, which ends it and reports the other one.
    """
    if DISCONNECTED.search(str(error)):
        print(f"rank {rank()}: another rank has ended", file=sys.stderr, flush=True)
        time.sleep(GRACE)
        _exit(1)
    match = TIMED_OUT.search(str(error))
    if match is None:
        return None
    return UserError(
        "APO_COLLECTIVE_TIMEOUT",
        found=f"rank {rank()} waiting for another one for {int(match[1]) / 1000:g} seconds",
        expected="all ranks at the same point within this time",
        do="look for a rank or a machine that hangs, or raise the timeout if a step or a save "
        "takes that long; `dvc repro` then resumes from the last checkpoint",
    )


def _is_initialized() -> bool:
    """Whether there is a process group; a stage without torch has none."""
    dist = sys.modules.get("torch.distributed")
    return bool(dist and dist.is_available() and dist.is_initialized())


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr, sys.__stderr__):
        if stream:
            stream.flush()
    os._exit(code)
