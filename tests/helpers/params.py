"""Sections of params.yaml as their stages read them, and files with one other value."""

import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.check_params import DEFAULTS, SECTIONS
from apo.core.config import read_section
from apo.core.errors import UserError

COMMITTED = Path(__file__).parents[2] / "params.yaml"
PARAMS = YAML(typ="safe").load(COMMITTED.read_text(encoding="utf-8"))


def at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


def leaves(values: Any, name: str) -> Iterator[str]:
    """Dotted names of everything that is no section; a list is one value."""
    for key, value in values.items():
        yield from leaves(value, f"{name}.{key}") if isinstance(value, dict) else [f"{name}.{key}"]


# Every key of the file with the section that reads it.
LEAVES = [(section, leaf) for section in SECTIONS for leaf in leaves(at(PARAMS, section), section)]
LEAVES += [("sample.rm", leaf) for leaf in leaves(PARAMS["sample"]["common"], "sample.common")]


def read(params: Path, section: str) -> Any:
    """A section as its stage reads it."""
    return read_section(params, section, SECTIONS[section], defaults=DEFAULTS.get(section, ""))


def params_with(folder: Path, leaf: str, value: Any, *others: str) -> Path:
    """The committed sections of a leaf and of others, with another value there, or without it (...)."""
    top, (parent, _, key) = leaf.split(".")[0], leaf.rpartition(".")
    params = copy.deepcopy({name: PARAMS[name] for name in {top, "training", *others}})
    if value is ...:
        del at(params, parent)[key]
    else:
        at(params, parent)[key] = value
    text = io.StringIO()
    YAML(typ="safe").dump(params, text)
    path = folder / "params.yaml"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def refused(path: Path, section: str, name: str, value: str) -> str:
    """The message, which begins with the file and the dotted name."""
    with pytest.raises(UserError) as error:
        read(path, section)
    message = str(error.value)
    assert message.startswith(f"{path}: {name}: found {value}")
    assert "\n" not in message
    return message
