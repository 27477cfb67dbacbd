"""The pinned versions of the libraries that affect the results of a model.

Every stage with a model depends on this folder, so a new version here runs the stage again. A test compares
these versions with requirements.txt.
"""

import sys
from importlib import metadata

VERSIONS = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "sentencepiece": "0.2.3",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "deepspeed": "0.19.8",
}


def installed(name: str) -> str:
    """The installed version without the build, `2.13.0` for `2.13.0+cpu`; empty if not installed."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def warn_of_other_versions() -> None:
    """Warns about installed libraries whose version differs from the pinned one."""
    for name, pinned in VERSIONS.items():
        version = installed(name)
        if version not in ("", pinned):
            print(
                f"{name} {version} is installed; the results in dvc.lock are those of {pinned}, and DVC "
                "does not see it: `make setup` installs that one, or write yours into apo/model/versions.py",
                file=sys.stderr,
            )
