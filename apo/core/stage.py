"""How a stage is run: `main` called with paths from dvc.yaml, errors printed in one line."""

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
    """Calls `main` with one `--name path` for each of its parameters and ends the process.

    A UserError is printed in one line, whatever a library's
    message in it looks like; the exit code is 1. A rank ends with its part of the work.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = str if parameter.annotation is str else Path
        required = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=kind, required=required, default=parameter.default)
    arguments = vars(parser.parse_args())
    if distributed.is_worker():
        _run_rank(main, arguments)
    try:
        gpu_lock.take_one()
        main(**arguments)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
    except KeyboardInterrupt:
        sys.exit("interrupted; `dvc repro` goes on from the last checkpoint")


def _run_rank(main: Callable[..., None], arguments: dict[str, Path | str]) -> NoReturn:
    """Calls `main`, which raises `Done` at the piece of work that this rank was started for."""
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
