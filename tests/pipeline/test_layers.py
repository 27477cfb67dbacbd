"""Imports of apo/ and stages/ only go down, and light stages import nothing heavy."""

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.import_closure import ROOT, closure, imports_of

LIGHT = ["data", "start", "plots", "split", "golden", "convert", "rjs", "judge"]

# Modules and packages of `apo`, from what all others stand on to what stands on them. A package imports from
# the lines above its own alone: neither from below, nor from its neighbours.
LAYERS = [
    ["core", "losses"],
    ["metrics", "demo", "model", "chunks", "endpoint"],
    [
        "conversion",
        "selection",
        "datasets",
        "splits",
        "training",
        "sampling",
        "scoring",
        "judge",
        "golden",
        "plots",
    ],
    ["language", "reward", "alignment", "evaluation"],
    ["export", "inspection", "report", "lineage", "preset"],
    ["fetch", "check_params"],
]


def _package(path: Path) -> str:
    return path.relative_to(ROOT / "apo").parts[0].removesuffix(".py")


def test_imports_only_go_down_the_layers() -> None:
    files = [path for path in ROOT.glob("apo/**/*.py") if path != ROOT / "apo/__init__.py"]
    height = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    assert height.keys() == set(map(_package, files))
    for path in files:
        for imported in imports_of(path) - {ROOT / "apo/__init__.py"}:
            assert imported.is_relative_to(ROOT / "apo"), f"{path} imports {imported}"
            importing, other = _package(path), _package(imported)
            assert other == importing or height[other] < height[importing], f"{path} imports {imported}"


def test_modules_do_not_import_each_other() -> None:
    files = [*ROOT.glob("apo/**/*.py"), *ROOT.glob("stages/*.py")]
    # `from apo.demo import x` inside the package asks for the module x.
    graph = {path: imports_of(path) - {path, path.with_name("__init__.py")} for path in files}
    assert len(list(TopologicalSorter(graph).static_order())) == len(files)  # CycleError names a circle


def test_the_project_is_not_imported_from_what_stands_beside_it() -> None:
    """Stages, commands and the method run without tests, study and benchmarks."""
    for path in [*ROOT.glob("apo/**/*.py"), *ROOT.glob("stages/*.py")]:
        names = re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not {"tests", "study", "benchmarks"} & set(names), path


def test_the_losses_stand_alone() -> None:
    """What the method is made of can be read, tested and replaced without the rest."""
    assert closure(ROOT / "apo/losses.py") == {"apo/losses.py"}
    for leaf in ("core/dialogue", "metrics/statistics", "model/pooling"):
        assert closure(ROOT / f"apo/{leaf}.py") <= {f"apo/{leaf.split('/')[0]}", "apo/core"}, leaf


LOOK = """
import importlib, json, sys, time
start = time.process_time()
importlib.import_module(sys.argv[1])
seconds = time.process_time() - start
heavy = {"requests", "torch", "numpy", "pandas", "scipy", "transformers", "datasets", "pyarrow", "dvc"}
print(json.dumps([sorted(heavy & sys.modules.keys()), seconds]))
"""


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_stage_loads_no_heavy_library_and_starts_at_once(name: str) -> None:
    command = [sys.executable, "-c", LOOK, f"stages.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    heavy, seconds = json.loads(done.stdout)
    assert heavy == []
    assert seconds < 2.0  # torch alone takes more; these take 0.3 to 0.5
    assert done.stderr == ""


SCRIPTS = [path for path in sorted(ROOT.glob("stages/[a-z]*.py")) if path.stem != "distributed"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_stage_script_is_a_recipe(path: Path) -> None:
    """Imports, perhaps constants, `main`, perhaps private helpers, the call under `__main__`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef, ast.If)
    assert all(isinstance(node, allowed) for node in body)
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names[0] == "main" and all(name.startswith("_") for name in names[1:])
    assert isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'"
