"""`python -m apo.preset NAME` writes a preset of `presets/` into params.yaml; comments stay.

A preset holds what differs from the demo, so its values are written over the demo's. `demo` holds the demo's
value of every key that another preset has. Keys that no preset has stay as they are.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.errors import UserError

DEMO = "demo"
FOLDER = Path("presets")


def names(folder: Path = FOLDER) -> list[str]:
    """The presets that there are, the demo first."""
    found = sorted(path.stem for path in folder.glob("*.yaml"))
    return sorted(found, key=lambda name: name != DEMO)


def switch(name: str, *, params: Path, folder: Path) -> list[str]:
    """Writes a preset into a file of parameters, whole or not at all.

    Returns:
        A line for every value that is another now.

    Raises:
        UserError: There is no such preset, or a key of it is none of the file's.
    """
    if name not in names(folder):
        raise UserError(
            str(folder),
            found=f"no {name}.yaml",
            expected=f"one of {', '.join(names(folder))}",
            do="write for example `python -m apo.preset demo`",
        )
    content = _read(params)
    before = dict(_leaves(_read(params)))
    for one in dict.fromkeys([DEMO, name]):
        path = folder / f"{one}.yaml"
        _write_over(content, _read(path), where=str(path))
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
