"""The project's own files that a module imports, transitively, inside functions too."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"apo/world"}  # listed as a folder


def imports_of(path: Path) -> set[Path]:
    """Files of this project that a file imports directly."""
    found = set()
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
                    found.add(candidate)
    return found


def closure(path: Path) -> set[str]:
    """The file and all it needs, as dvc.yaml writes it; `__init__.py` with only a docstring is left out.

    What stands beside a module under its name, such as page.css beside page.py, is read by it.
    """
    seen, open_ = set(), [path]
    while open_:
        current = open_.pop()
        if current not in seen:
            seen.add(current)
            open_ += imports_of(current)
    names = set()
    for file in seen:
        name = file.relative_to(ROOT).as_posix()
        package = next((package for package in PACKAGES if name.startswith(package + "/")), None)
        if package:
            names.add(package)
        elif file.name != "__init__.py" or len(ast.parse(file.read_text(encoding="utf-8")).body) > 1:
            names |= {beside.relative_to(ROOT).as_posix() for beside in file.parent.glob(f"{file.stem}.*")}
    return names
