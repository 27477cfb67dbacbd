"""The entry point of a stage: it calls `main` with the paths of dvc.yaml and prints an error as one line."""

import argparse
import gc
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from apo.core import distributed, gpu_lock
from apo.core.errors import UserError, explain_unexpected

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one option `--name path` per parameter.

    An exception is printed as one line and the exit code is 1; APO_TRACEBACK=1 prints the traceback of one
    that is no UserError. In a worker the process ends as soon as its part of the computation is done.
    """
    gc.freeze()
    gc.enable()
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = str if parameter.annotation is str else Path
        required = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=kind, required=required, default=parameter.default)
    arguments = vars(parser.parse_args())
    if distributed.is_worker():
        _run_worker(main, arguments)
    try:
        gpu_lock.take_one()
        main(**arguments)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
    except KeyboardInterrupt:
        sys.exit("interrupted; `dvc repro` resumes from the last checkpoint")
    except Exception as error:  # noqa: BLE001 - of any library
        sys.exit(f"error: {' '.join(str(_explained(error, main)).splitlines())}")


def _explained(error: Exception, main: Callable[..., None]) -> UserError:
    if os.environ.get("APO_TRACEBACK"):
        traceback.print_exception(error)
    return explain_unexpected(error, Path(inspect.getfile(main)).stem)


def _run_worker(main: Callable[..., None], arguments: dict[str, Path | str]) -> NoReturn:
    """Calls `main`, which raises `WorkerDone` after the computation that this worker was started for."""
    distributed.start_worker()
    try:
        try:
            main(**arguments)
        except distributed.WorkerDone:
            distributed.end_worker()
    except UserError as error:
        distributed.report(error)
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001 - of any library
        if not (isinstance(error, RuntimeError) and distributed.report_group(error)):
            distributed.report(_explained(error, main))
    distributed.end(1)
