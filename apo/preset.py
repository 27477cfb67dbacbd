"""`python -m apo.preset NAME` writes a preset of `presets/` into params.yaml; comments stay.

A preset holds what differs from the demo, so its values are written over the demo's. `demo` holds the demo's
value of every key that another preset has. Keys that no preset has stay as they are. The block `fetch` of a
preset is no parameter: `python -m apo.fetch NAME` reads it.
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

DEMO = "demo"
FETCH = "fetch"
FOLDER = Path("presets")
PLACES = {"model": "pretrained", "dataset": "data/input"}

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pinned(Section):
    """A model or a data set of a hub that a preset needs: an entry of its block `fetch`.

    Args:
        revision: A commit.
        licence: As its publisher names it.
        to: A folder in pretrained/ or in data/input/.
        folders: Of a data set: only what is in these folders, and its README. Empty for all.
        sha256: Of some files, where it is known, so that the hub's own word is not needed.
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
    """The presets that there are, the demo first."""
    found = sorted(path.stem for path in folder.glob("*.yaml"))
    return sorted(found, key=lambda name: name != DEMO)


def read_preset(name: str, folder: Path = FOLDER) -> tuple[dict[str, Any], list[Pinned]]:
    """The parameters of a preset, unchecked, and what it pins.

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
            f"{path}: {FETCH}", found=_shown(entries), expected="a list", do="compare it with docs/presets.md"
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
    place = PLACES[pinned.type]
    if not re.fullmatch(rf"{place}/[A-Za-z0-9][\w.-]*(?<!\.tmp)", pinned.to):
        raise UserError(
            f"{where}.to",
            found=repr(pinned.to),
            expected=f"a folder in {place}/, where a {pinned.type} belongs",
            do=f"write for example `to: {place}/{pinned.repo.rpartition('/')[2].lower()}`",
        )
    return pinned


def switch(name: str, *, params: Path, folder: Path) -> list[str]:
    """Writes a preset into a file of parameters, whole or not at all.

    Returns:
        A line for every value that is another now.

    Raises:
        UserError: There is no such preset, or a key of it is none of the file's.
    """
    presets = {one: read_preset(one, folder)[0] for one in dict.fromkeys([DEMO, name])}
    content = _read(params)
    before = dict(_leaves(_read(params)))
    for one, values in presets.items():
        _write_over(content, values, where=str(folder / f"{one}.yaml"))
    temporary = params.with_name(params.name + ".tmp")
    temporary.write_text(_dumped(content), encoding="utf-8")
    temporary.replace(params)
    after = dict(_leaves(content))
    return [
        f"{key}: {_shown(before[key])} -> {_shown(after[key])}" for key in after if after[key] != before[key]
    ]


def _write_over(content: Any, values: Any, *, where: str, above: str = "") -> None:
    for key, value in values.items():
        name = f"{above}.{key}".strip(".")
        if key not in content or isinstance(content[key], dict) != isinstance(value, dict):
            raise UserError(
                f"{where}: {name}",
                found="a section" if isinstance(value, dict) else _shown(value),
                expected="a key of params.yaml, with a value where that has one",
                do="correct its spelling or its indentation",
            )
        if isinstance(value, dict):
            _write_over(content[key], value, where=where, above=name)
        else:
            content[key] = value


def _leaves(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value under its dotted name; a list is one."""
    for key, value in values.items():
        name = f"{above}.{key}".strip(".")
        if isinstance(value, dict) and value:
            yield from _leaves(value, name)
        else:
            yield name, value


def _yaml() -> YAML:
    """One that leaves the rest of a file as it is."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    return yaml


def _read(path: Path) -> Any:
    try:
        return _yaml().load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            str(path),
            found=" ".join(str(error).split())[:200],
            expected="YAML",
            do="run from the repository root; restore the file from `git diff`",
        ) from None


def _dumped(content: Any) -> str:
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def _shown(value: Any) -> str:
    """A value in one line, as it is written."""
    return " ".join(_dumped({"": value}).partition(":")[2].split())


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
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
    missing = [one.to for one in pinned if not Path(one.to).is_dir()]
    if missing:
        print(f"not fetched yet: {', '.join(missing)}; run `make fetch NAME={options.name}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
