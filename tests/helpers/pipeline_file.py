"""dvc.yaml with its templates filled in, and the calls in the scripts of its stages."""

import ast
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.helpers.import_closure import ROOT, files_needed
from tests.helpers.played_repo import expanded

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARAMS["rounds"] = [{"id": "r1", "prev": "r0"}, {"id": "r2", "prev": "r1"}]  # what one round hides
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]

# Scripts that more than one stage runs, or one of another name.
VARIANTS = {
    "sample": ["sample_rm"],
    "score": ["score_base"],
    "answer": ["answer_actor"],
    "evaluate_rm": ["evaluate_base_rm", "evaluate_apo_rm", "evaluate_test_rm"],
}


@dataclass
class Stage:
    """One stage, or one instance of it, with the templates filled in."""

    address: str
    script: str
    desc: str
    params: set[str]
    deps: list[str]
    outs: list[str]
    metrics: dict[str, dict[str, Any]]
    arguments: dict[str, str]  # of the command

    @property
    def name(self) -> str:
        return self.address.split("@")[0]

    @property
    def written(self) -> list[str]:
        return [*self.outs, *self.metrics]

    @property
    def code(self) -> set[str]:
        return {dep for dep in self.deps if dep.startswith(("apo/", "stages/"))}

    @property
    def data(self) -> set[str]:
        return set(self.deps) - self.code


def all_stages() -> Iterator[Stage]:
    for address, filled in expanded(STAGES, PARAMS).items():
        words = shlex.split(filled["cmd"])
        assert words[:2] == ["python", "-m"] and words[2].startswith("stages.")
        if words[2] == "stages.distributed":
            del words[2]
        script = words[2].removeprefix("stages.")
        assert address.split("@")[0] in [script, *VARIANTS.get(script, [])]
        assert all(flag.startswith("--") for flag in words[3::2])
        yield Stage(
            address=address,
            script=f"stages/{script}.py",
            desc=filled.get("desc", ""),
            params=set(filled["params"]),
            deps=filled.get("deps", []),
            outs=filled.get("outs", []),
            metrics={path: options for entry in filled["metrics"] for path, options in entry.items()},
            arguments={f.removeprefix("--"): v for f, v in zip(words[3::2], words[4::2], strict=True)},
        )


ALL = list(all_stages())


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def text(node: ast.expr, names: dict[str, str]) -> str:
    """A constant, an f-string or a name, with the values that the names have."""
    match node:
        case ast.Constant(str(value)):
            return value
        case ast.JoinedStr(parts):
            return "".join(text(part, names) for part in parts)
        case ast.FormattedValue(value=value):
            return text(value, names)
        case ast.Name(name):
            return names[name]
    raise AssertionError(ast.dump(node))


def calls(path: str, *functions: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of some functions in a file, but for those inside these functions themselves."""
    open_: list[ast.AST] = [parsed(path)]
    while open_:
        node = open_.pop()
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            yield node.func.id, node
        open_ += ast.iter_child_nodes(node)


@cache
def needed(script: str) -> list[str]:
    """The files that a stage's script imports, and itself."""
    return sorted(path.relative_to(ROOT).as_posix() for path in files_needed(ROOT / script))
