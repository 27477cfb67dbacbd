"""The entry point of a stage: it calls `main` with the paths of dvc.yaml and prints an error as one line."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from apo.core import distributed, gpu_lock
from apo.core.errors import UserError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one option `--name path` per parameter.

    A UserError is printed as one line and the exit code is 1. In a worker the process ends as soon as the
    worker's part of the computation is done.
    """
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
    except RuntimeError as error:
        distributed.report_group(error)
    except KeyboardInterrupt:
        pass
    distributed.end(1)
