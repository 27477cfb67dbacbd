"""How a stage is run: `main` called with paths from dvc.yaml, errors told in one line, provenance written."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from apo import gpus, launch
from apo.errors import UserError
from apo.provenance import project_code, write_provenance

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one `--name path` for each of its parameters and ends the process.

    Beside what it wrote stands its provenance then. A UserError is printed in one line, whatever a library's
    message in it looks like; the exit code is 1. A rank (see `apo.launch`) ends with its part of the work.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = str if parameter.annotation is str else Path
        required = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=kind, required=required, default=parameter.default)
    arguments = vars(parser.parse_args())
    if launch.inside():
        _run_rank(main, arguments)
    try:
        code = project_code()
        gpus.take_one()
        main(**arguments)
        write_provenance(Path(inspect.getfile(main)).stem, arguments, code)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
    except KeyboardInterrupt:
        sys.exit("interrupted; `dvc repro` goes on from the last checkpoint")


def _run_rank(main: Callable[..., None], arguments: dict[str, Path | str]) -> NoReturn:
    """Calls `main`, which raises `Done` at the piece of work that this rank was started for."""
    launch.enter()
    try:
        try:
            main(**arguments)
        except launch.Done:
            launch.leave()
    except UserError as error:
        launch.report(error)
    except RuntimeError as error:
        launch.report_group(error)
    except KeyboardInterrupt:
        pass
    launch.end(1)
