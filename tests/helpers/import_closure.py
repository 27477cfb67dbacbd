"""The project's own files that a module imports, transitively, inside functions too."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def imports_of(path: Path) -> frozenset[Path]:
    """Files of this project that a file imports directly."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            base = ROOT / name.replace(".", "/")
            for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                if candidate.is_file() and name.split(".")[0] in ("apo", "stages"):
                    imported.add(candidate)
    return frozenset(imported)


def files_needed(path: Path) -> set[Path]:
    """The file and all that it imports."""
    seen: set[Path] = set()
    open_ = [path]
    while open_:
        current = open_.pop()
        if current not in seen:
            seen.add(current)
            open_ += imports_of(current)
    return seen


def closure(path: Path) -> set[str]:
    """What dvc.yaml declares of a script's code: the script, packages of `apo`, modules beside them."""
    names = {file.relative_to(ROOT).as_posix() for file in files_needed(path)} - {"apo/__init__.py"}
    return {"/".join(name.split("/")[:2]) if name.startswith("apo/") else name for name in names}
