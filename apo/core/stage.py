"""The entry point of a stage: it calls `main` with the paths of dvc.yaml and prints an error as one line."""

import argparse
import gc
import inspect
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from apo.core import distributed, gpu_lock
from apo.core.errors import UserError, explain_unexpected

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one option `--name path` per parameter, in every process of a launcher.

    An exception is printed as one line and the exit code is 1; APO_TRACEBACK=1 prints the traceback of one
    that is no UserError.
    """
    gc.freeze()
    gc.enable()
    distributed.start()
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = str if parameter.annotation is str else Path
        required = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=kind, required=required, default=parameter.default)
    arguments = vars(parser.parse_args())
    try:
        distributed.check_launcher()
        gpu_lock.take_one()
        main(**arguments)
        distributed.end()
    except KeyboardInterrupt:
        distributed.fail("interrupted; `dvc repro` resumes from the last checkpoint")
    except Exception as error:  # noqa: BLE001 - of any library
        distributed.fail(f"error: {' '.join(str(_explained(error, main)).splitlines())}")


def _explained(error: Exception, main: Callable[..., None]) -> UserError:
    if isinstance(error, UserError):
        return error
    if collective := distributed.explain_collective(error):
        return collective
    if os.environ.get("APO_TRACEBACK"):
        traceback.print_exception(error)
    return explain_unexpected(error, Path(inspect.getfile(main)).stem)
