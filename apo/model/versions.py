"""The libraries that compute: their versions are a part of every result that a model is in.

A stage that computes depends on this folder, so a new version here runs it again. A test holds these versions
against requirements.txt.
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
    """The installed version without the build: `2.13.0` for `2.13.0+cpu`; empty where it is not installed."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def warn_of_other_versions() -> None:
    """Says which installed libraries are not those that dvc.lock vouches for."""
    others = {name: found for name, pin in VERSIONS.items() if (found := installed(name)) not in ("", pin)}
    for name, found in others.items():
        print(
            f"{name} {found} is installed; the results in dvc.lock are those of {VERSIONS[name]}, and DVC "
            "does not see it: `make setup` installs that one, or write yours into apo/model/versions.py",
            file=sys.stderr,
        )
