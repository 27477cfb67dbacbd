"""`python -m apo.preset NAME` writes a preset of `presets/` into params.yaml; comments stay.

A preset has the values that differ from the demo, so they are written over those of the demo. `demo` has the
demo's value of every key of another preset. Keys of no preset stay as they are. The block `fetch` of a preset
is no parameter: `python -m apo.fetch NAME` reads it.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.config import Section
from apo.core.errors import UserError
from apo.core.records import write_text

DEMO = "demo"
FETCH = "fetch"
FOLDER = Path("presets")
PARENT_FOLDERS = {"model": "pretrained", "dataset": "data/input"}

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pinned(Section):
    """A model or a data set of a hub that a preset needs: an entry of its block `fetch`.

    Args:
        revision: A commit.
        licence: As its publisher names it.
        to: A folder in pretrained/ or in data/input/.
        folders: The folders of a data set to download, beside its README. Empty for all.
        sha256: Known hashes of files, so that those of the hub need not be trusted.
    """

    repo: Annotated[str, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")]
    type: Literal["model", "dataset"]
    revision: str
    licence: str
    to: str
    folders: tuple[str, ...] = ()
    sha256: dict[str, Hash] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision[:12]}"


def names(folder: Path = FOLDER) -> list[str]:
    """The names of the presets, the demo first."""
    presets = sorted(path.stem for path in folder.glob("*.yaml"))
    return sorted(presets, key=lambda name: name != DEMO)


def read_preset(name: str, folder: Path = FOLDER) -> tuple[dict[str, Any], list[Pinned]]:
    """The parameters of a preset, unchecked, and its pinned models and data sets.

    Raises:
        UserError: There is no such preset, its file is not a YAML mapping, or an entry of `fetch` is invalid:
            a key, a branch as the revision, or a folder elsewhere.
    """
    path = folder / f"{name}.yaml"
    if name not in names(folder):
        raise UserError(
            str(folder),
            found=f"no {path.name}",
            expected=f"one of {', '.join(names(folder))}",
            do="write for example `python -m apo.preset demo`",
        )
    values = _read(path)
    if not isinstance(values, dict):
        raise UserError(
            str(path),
            found=repr(values)[:60],
            expected="keys of params.yaml",
            do="compare it with the other presets",
        )
    entries = values.pop(FETCH, [])
    if not isinstance(entries, list):
        raise UserError(
            f"{path}: {FETCH}",
            found=_inline(entries),
            expected="a list",
            do="compare it with docs/presets.md",
        )
    return values, [_check_entry(f"{path}: {FETCH}[{index}]", entry) for index, entry in enumerate(entries)]


def _check_entry(where: str, entry: Any) -> Pinned:
    try:
        pinned = Pinned.model_validate_json(json.dumps(entry, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            ".".join([where, *map(str, first["loc"])]),
            found=repr(first["input"])[:60],
            expected=first["msg"].removeprefix("Input should be "),
            do="compare it with docs/presets.md",
        ) from None
    if not re.fullmatch(r"[0-9a-f]{40}", pinned.revision):
        raise UserError(
            f"{where}.revision",
            found=repr(pinned.revision),
            expected="the 40 hexadecimal digits of a commit: a branch can change",
            do="copy the commit from the page of the repository",
        )
    parent = PARENT_FOLDERS[pinned.type]
    if not re.fullmatch(rf"{parent}/[A-Za-z0-9][\w.-]*(?<!\.tmp)", pinned.to):
        raise UserError(
            f"{where}.to",
            found=repr(pinned.to),
            expected=f"a folder in {parent}/, where a {pinned.type} belongs",
            do=f"write for example `to: {parent}/{pinned.repo.rpartition('/')[2].lower()}`",
        )
    return pinned


def switch(name: str, *, params: Path, folder: Path) -> list[str]:
    """Writes a preset into a file of parameters, atomically.

    Returns:
        A line for every changed value.

    Raises:
        UserError: There is no such preset, or the file lacks one of its keys.
    """
    presets = {preset: read_preset(preset, folder)[0] for preset in dict.fromkeys([DEMO, name])}
    content = _read(params)
    before = dict(_leaves(_read(params)))
    for preset, values in presets.items():
        _write_over(content, values, where=str(folder / f"{preset}.yaml"))
    write_text(params, _dump(content))
    after = dict(_leaves(content))
    return [
        f"{key}: {_inline(before[key])} -> {_inline(after[key])}"
        for key in after
        if after[key] != before[key]
    ]


def _write_over(content: Any, values: Any, *, where: str, prefix: str = "") -> None:
    for key, value in values.items():
        name = f"{prefix}.{key}".strip(".")
        if key not in content or isinstance(content[key], dict) != isinstance(value, dict):
            raise UserError(
                f"{where}: {name}",
                found="a section" if isinstance(value, dict) else _inline(value),
                expected="a key of params.yaml, with a value where that has one",
                do="correct its spelling or its indentation",
            )
        if isinstance(value, dict):
            _write_over(content[key], value, where=where, prefix=name)
        else:
            content[key] = value


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its dotted name; a list is one value."""
    for key, value in values.items():
        name = f"{prefix}.{key}".strip(".")
        if isinstance(value, dict) and value:
            yield from _leaves(value, name)
        else:
            yield name, value


def _yaml() -> YAML:
    """A YAML parser and writer that keeps comments and layout."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    return yaml


def _read(path: Path) -> Any:
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            str(path),
            found=" ".join(str(error).split())[:200],
            expected="YAML",
            do="run from the repository root; restore the file from `git diff`",
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            str(path),
            found="an empty file" if content is None else "no sections",
            expected="the sections of params.yaml",
            do="restore the file: `git checkout params.yaml`",
        )
    return content


def _dump(content: Any) -> str:
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def _inline(value: Any) -> str:
    """A value as YAML in one line."""
    return " ".join(_dump({"": value}).partition(":")[2].split())


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help=f"one of {', '.join(names())}")
    options = parser.parse_args(arguments)
    try:
        changed = switch(options.name, params=Path("params.yaml"), folder=FOLDER)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join([*changed, f"params.yaml: {len(changed)} values changed to preset {options.name}"]))
    _, pinned = read_preset(options.name)
    missing = [entry.to for entry in pinned if not Path(entry.to).is_dir()]
    if missing:
        print(f"not fetched yet: {', '.join(missing)}; run `make fetch NAME={options.name}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
