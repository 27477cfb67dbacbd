"""How a stage is run: `main` called with paths from dvc.yaml, errors told in one line."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

from apo.errors import UserError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one `--name path` for each of its parameters and ends the process.

    A UserError is printed in one line, whatever a library's message in it looks like; the exit code is 1.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = str if parameter.annotation is str else Path
        required = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=kind, required=required, default=parameter.default)
    try:
        main(**vars(parser.parse_args()))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
    except KeyboardInterrupt:
        sys.exit("interrupted; `dvc repro` goes on from the last checkpoint")
