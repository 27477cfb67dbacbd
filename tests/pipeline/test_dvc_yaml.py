"""The pipeline declares exactly what its stages read and write: code, parameters, data, metrics."""

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from apo.core.provenance import OUTPUTS, SUFFIX

from apo.core import config
from apo.plots.tables import COLUMNS
from apo.splits.splitting import EVALUATED_ON
from tests.helpers.import_closure import ROOT, closure, imports_of
from tests.helpers.played_repo import expanded

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARAMS["rounds"] = [{"id": "r1", "prev": "r0"}, {"id": "r2", "prev": "r1"}]  # what one round hides
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
PROMISED = {"split", "sample", "convert", "train_base_rm", "train_apo_rm", "test_rm", "score", "rjs"}
LIGHT = ["split", "convert", "rjs", "judge", "gather_start", "gather"]
# Scripts that more than one stage runs.
VARIANTS = {
    "sample": ["sample_rm"],
    "score": ["score_base"],
    "answer": ["answer_actor"],
    "payoff": ["payoff_base"],
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
    def code(self) -> set[str]:
        return {dep for dep in self.deps if dep.startswith(("apo/", "stages/"))}

    @property
    def provenance(self) -> str:
        return self.arguments["out"].removesuffix(".jsonl").removesuffix(".html") + SUFFIX

    @property
    def data(self) -> set[str]:
        return set(self.deps) - self.code


def _stages() -> Iterator[Stage]:
    for address, filled in expanded(STAGES, PARAMS).items():
        words = shlex.split(filled["cmd"])
        assert words[:2] == ["python", "-m"] and words[2].startswith("stages.")
        script = words[2].removeprefix("stages.")
        assert address.split("@")[0] in (script, *VARIANTS.get(script, ()))
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


ALL = list(_stages())
MEASURES_NOTHING = ("start", "gather_start", "gather", "plots")
READERS = ("read_section", "read_part", "read_seed", "read_count", "read_number", "read_all", "check_rounds")
each = pytest.mark.parametrize("stage", ALL, ids=[stage.address for stage in ALL])


def _parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _text(node: ast.expr, names: dict[str, str]) -> str:
    """A constant, an f-string or a name, with the values that the names have."""
    match node:
        case ast.Constant(str(value)):
            return value
        case ast.JoinedStr(parts):
            return "".join(_text(part, names) for part in parts)
        case ast.FormattedValue(value=value):
            return _text(value, names)
        case ast.Name(name):
            return names[name]
    raise AssertionError(ast.dump(node))


def _calls(path: str, *functions: str) -> Iterator[tuple[str, ast.Call]]:
    if not path.endswith(".py"):
        return
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            yield node.func.id, node


def test_the_stages_that_users_know_are_there() -> None:
    assert STAGES.keys() >= PROMISED
    assert {stage.script for stage in ALL} == {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("stages/*.py") if path.stem != "__init__"
    }


@each
def test_the_code_is_what_the_script_imports(stage: Stage) -> None:
    assert sorted(stage.code) == sorted(closure(ROOT / stage.script))
    assert len(stage.deps) == len(set(stage.deps))


@each
def test_the_parameters_are_those_that_are_read(stage: Stage) -> None:
    read = set()
    for path in stage.code - {"apo/core/config.py", "apo/world"}:
        for function, call in _calls(path, *READERS):
            if function == "read_all":
                read |= set(PARAMS)
                continue
            fixed = {"read_seed": "seed", "check_rounds": "rounds"}.get(function)
            name = fixed or _text(call.args[1], stage.arguments)
            if function == "read_part":
                assert isinstance(call.args[2], ast.Name)
                read |= {f"{name}.{key}" for key in getattr(config, call.args[2].id).model_fields}
            else:
                read.add(name)
    assert read == stage.params


@each
def test_the_inputs_of_the_command_are_those_that_are_declared(stage: Stage) -> None:
    """Exactly, so that the provenance, which hashes the paths of the command, holds what DVC watches."""
    inputs = {value for name, value in stage.arguments.items() if name not in OUTPUTS and "/" in value}
    assert inputs == stage.data


@each
def test_the_outputs_of_the_command_are_those_that_are_declared(stage: Stage) -> None:
    """A path of the command is a file or folder that is declared, or the folder of several."""
    named = {value for name, value in stage.arguments.items() if name in OUTPUTS}
    declared = set(stage.outs) - {stage.provenance} | set(stage.metrics)
    for path in declared:
        assert any(path == name or path.startswith(f"{name}/") for name in named), path
    for name in named:
        assert any(path == name or path.startswith(f"{name}/") for path in declared), name


@each
def test_the_provenance_stands_beside_the_output_and_nothing_depends_on_it(stage: Stage) -> None:
    """A comment in the code changes it; what is computed from the output must not run again for that."""
    assert [out for out in stage.outs if "provenance" in out] == [stage.provenance]
    for other in ALL:
        assert not any(f"{stage.provenance}/".startswith(f"{dep}/") for dep in other.deps), other.address


@each
def test_the_command_names_the_parameters_of_main(stage: Stage) -> None:
    main = next(node for node in _parsed(stage.script).body if getattr(node, "name", "") == "main")
    assert isinstance(main, ast.FunctionDef)
    names = [argument.arg for argument in main.args.args]
    needed = names[: len(names) - len(main.args.defaults)]
    assert list(stage.arguments)[: len(needed)] == needed
    assert set(stage.arguments) <= set(names) - {"params"}


@each
def test_inputs_come_from_earlier_stages_or_are_sources(stage: Stage) -> None:
    made = {out for other in ALL for out in [*other.outs, *other.metrics]}
    made |= {dep for dep in stage.data if any(out.startswith(f"{dep}/") for out in made)}  # a folder of them
    sources = {PARAMS["data"]["dir"], PARAMS["backbone"]["start"], PARAMS["actor"]["start"]}
    assert stage.data <= made | sources
    assert not stage.data & set(stage.outs)


def test_every_output_has_one_stage_and_the_stages_have_an_order() -> None:
    outs = [out for stage in ALL for out in [*stage.outs, *stage.metrics]]
    assert len(outs) == len(set(outs))
    maker = {out: stage.address for stage in ALL for out in [*stage.outs, *stage.metrics]}
    graph = {
        stage.address: {maker[out] for out in maker for dep in stage.data if f"{out}/".startswith(f"{dep}/")}
        for stage in ALL
    }
    order = list(TopologicalSorter(graph).static_order())
    assert order[0] == "data" and set(order[-2:]) == {"report", "plots"}
    assert order.index("test_rm") < order.index("answer@round0-apo") < order.index("evaluate@round0")
    assert order.index("align@round0-base") < order.index("sample@round1-base")


def test_what_is_made_of_the_test_set_trains_nothing() -> None:
    """Answers to test queries and the judge are read by what measures alone; nothing trained reads test."""
    measuring = (
        "answer",
        "answer_actor",
        "evaluate",
        "payoff",
        "payoff_base",
        "judge",
        "gather_start",
        "gather",
        "report",
        "plots",
    )
    for stage in ALL:
        if stage.address.split("@")[0] in measuring:
            assert not any(out.startswith(("models/", "data/rjs")) for out in stage.outs)
            continue
        assert not any(
            dep.startswith(("data/answers", "data/evaluate", "models/rm_test")) for dep in stage.data
        )
        if not stage.script.startswith(("stages/train", "stages/test_rm")):
            assert not {dep for dep in stage.data if "test" in dep or "valid" in dep}, stage.address


def test_the_arms_do_not_touch_each_other() -> None:
    """What the APO RM makes is read by no stage of the control arm, in any round."""
    for stage in ALL:
        if stage.address.endswith("-base") or stage.address.startswith("score_base"):
            assert not any("apo" in dep for dep in stage.data), stage.address
        if stage.address.split("@")[0] in ("sample_rm", "convert"):
            assert not any("base" in dep for dep in stage.data), stage.address


def test_an_earlier_round_reads_nothing_of_a_later_one() -> None:
    for stage in ALL:
        if "@round0" in stage.address and not stage.address.startswith("payoff"):
            assert not any("r2" in dep.split("/") for dep in stage.data), stage.address


def _trained_and_measured(stage: Stage) -> tuple[set[str], dict[str, str]]:
    """The comparisons that an RM stage trains on, and those it is measured on by name, as paths."""
    ((_, call),) = _calls(stage.script, "train_rm")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    comparisons, measured = given["comparisons"], given["measured_on"]
    assert isinstance(comparisons, ast.List) and isinstance(measured, ast.Dict)
    return {_text(node, stage.arguments) for node in comparisons.elts}, {
        _text(key, {}): _text(value, stage.arguments)
        for key, value in zip(measured.keys, measured.values, strict=True)
        if key
    }


@pytest.mark.parametrize("name", ["train_base_rm", "train_apo_rm", "test_rm"])
def test_no_rm_is_measured_on_what_it_is_trained_on(name: str) -> None:
    """`valid` trains the testing RM, so it never measures it; `split` proves all the other pairs disjoint."""
    stage = next(stage for stage in ALL if stage.address.split("@")[0] == name)
    trained, measured = _trained_and_measured(stage)
    assert measured.keys() == ({"test"} if name == "test_rm" else {"test", "valid"})
    assert trained and not trained & set(measured.values())
    names = {"data/split/rm_train.jsonl": "rm", "data/split/llm_train.jsonl": "llm"}
    names |= {"data/split/rm_valid.jsonl": "valid", "data/split/test.jsonl": "test"}
    for path in trained:
        assert {names[other] for other in measured.values()} <= set(EVALUATED_ON[names[path]])


@each
def test_a_stage_says_what_it_does(stage: Stage) -> None:
    assert len(stage.desc.split()) >= 4
    assert (ast.get_docstring(_parsed(stage.script)) or "").startswith(f"{Path(stage.script).stem}: ")


@each
def test_metrics_are_tracked_by_git_and_outputs_by_dvc(stage: Stage) -> None:
    assert len(stage.metrics) == (0 if Path(stage.script).stem in MEASURES_NOTHING else 1)
    for path, options in stage.metrics.items():
        assert options == {"cache": False}
        assert re.fullmatch(r"metrics/(r\d/)?\w+\.json", path)
    assert all(isinstance(out, str) for out in stage.outs)  # no options: cached, not persistent


def _metric_key(stage: Stage) -> set[str]:
    """The top-level keys that a stage writes into its metrics file."""
    names = dict(stage.arguments)
    for _, call in _calls(stage.script, "train_rm", "fine_tune", "align_model", "finish"):
        names["name"] = _text(call.args[0], names)
    keys = set()
    for path in stage.code - {"apo/world"}:
        for _, call in _calls(path, "write_json"):
            if ast.unparse(call.args[0]) in ("metrics", "to.metrics"):
                content = call.args[1]
                assert isinstance(content, ast.Dict)
                keys |= {_text(key, names) for key in content.keys if key}
    return keys


def test_every_metrics_file_has_a_key_of_its_own() -> None:
    """Otherwise `dvc exp show` names the columns by their path."""
    measured = [stage for stage in ALL if stage.metrics]
    keys = [_metric_key(stage) for stage in measured]
    assert all(len(own) == 1 for own in keys), keys
    assert len(set.union(*keys)) == len(measured)


def test_every_plot_has_data_and_a_template() -> None:
    """A plot draws a column of a table that stage plots writes, and its paths are the same for any rounds."""
    (out,) = {place for stage in ALL if stage.script == "stages/plots.py" for place in stage.outs[:1]}
    drawn = set()
    for entry in PIPELINE["plots"]:
        ((name, plot),) = entry.items()
        ((path, column),) = plot["y"].items()
        table = Path(path)
        assert table.parent.as_posix() == out and table.suffix == ".csv", name
        assert {plot["x"], column} <= set(COLUMNS[table.stem]), name
        drawn.add(table.stem)
        template = json.loads((ROOT / f".dvc/plots/{plot['template']}.json").read_text(encoding="utf-8"))
        assert template["data"] == {"values": "<DVC_METRIC_DATA>"}
        assert all(plot[key].strip() for key in ("title", "x_label", "y_label")), name
        assert "rev" in _fields(template) or "<DVC_METRIC_COLOR>" in str(template), name
        # What the template draws besides x and y is a column too, or computed inside it.
        own = {"x", "y", "rev", "series", "order"} | set(COLUMNS[table.stem])
        assert _fields(template) - {"<DVC_METRIC_X>"} <= own, name
    assert drawn == COLUMNS.keys()


def _fields(node: Any) -> set[str]:
    """The names under `field` anywhere in a template."""
    if isinstance(node, list):
        return set().union(*map(_fields, node))
    if not isinstance(node, dict):
        return set()
    own = {node["field"]} if isinstance(node.get("field"), str) else set()
    return own.union(*map(_fields, node.values()))


def test_every_parameter_belongs_to_a_stage() -> None:
    declared = set.union(*(stage.params for stage in ALL))
    assert {name.split(".")[0] for name in declared} == PARAMS.keys()
    assert {f"sample.{part}" for part in PARAMS["sample"]} <= declared


def test_an_experiment_leaves_the_comments_of_params_yaml(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the file anew, every list too; set back, it is what is committed."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    for value in (0.05, PARAMS["apo"]["coeff"]):
        apply_overrides(path, [f"apo.coeff={value}"])
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


# Imports -------------------------------------------------------------------------------------------


def test_imports_point_one_way() -> None:
    files = [*ROOT.glob("apo/**/*.py"), *ROOT.glob("stages/*.py")]
    # `from apo.demo import x` inside the package asks for the module x.
    graph = {path: imports_of(path) - {path, path.with_name("__init__.py")} for path in files}
    assert len(list(TopologicalSorter(graph).static_order())) == len(files)  # CycleError names a circle
    for path, imported in graph.items():
        if path.is_relative_to(ROOT / "apo"):
            assert not {other for other in imported if other.is_relative_to(ROOT / "stages")}, path


def test_leaves_need_little() -> None:
    """What the method is made of can be read, tested and replaced alone."""
    for leaf in (
        "errors",
        "config",
        "dialogue",
        "losses",
        "model/pooling",
        "measuring/intervals",
        "records",
        "tables",
    ):
        rest = closure(ROOT / f"apo/{leaf}.py") - {f"apo/{leaf}.py", "apo/core/errors.py"}
        assert not rest, (leaf, rest)


LOOK = """
import importlib, json, sys, time
start = time.process_time()
importlib.import_module(sys.argv[1])
seconds = time.process_time() - start
heavy = {"requests", "torch", "numpy", "pandas", "scipy", "transformers", "datasets", "pyarrow", "dvc"}
print(json.dumps([sorted(heavy & sys.modules.keys()), seconds]))
"""


@pytest.mark.parametrize("name", [*LIGHT, "data"])
def test_a_light_stage_loads_no_heavy_library_and_starts_at_once(name: str) -> None:
    command = [sys.executable, "-c", LOOK, f"stages.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    heavy, seconds = json.loads(done.stdout)
    assert heavy == []
    assert seconds < 2.0  # torch alone takes more; these take 0.3 to 0.5
    assert done.stderr == ""


@pytest.mark.parametrize("path", sorted(ROOT.glob("stages/[a-z]*.py")), ids=lambda path: path.stem)
def test_a_stage_script_is_a_recipe(path: Path) -> None:
    """Imports, constants-free, one `main` and perhaps small helpers, the call under `__main__`; no class."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.If)
    assert all(isinstance(node, allowed) for node in body)
    assert isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'"


def test_dvc_and_an_editor_read_the_file() -> None:
    """By the schema of dvc; and without repeats in lists, as that of its editor extension asks."""
    from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    COMPILED_MULTI_STAGE_SCHEMA(content)
    for name, declared in STAGES.items():
        stage = declared.get("do", declared)
        for kind in ("deps", "params", "outs"):
            listed = stage.get(kind, [])
            assert len(listed) == len(set(map(str, listed))), (name, kind)
        sides = stage.get("matrix", {}).values()
        assert all(isinstance(side, list) or re.fullmatch(r"\$\{.*?\}", side) for side in sides), name
    for name, artifact in content["artifacts"].items():
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-/]*[a-z0-9])?", name)
        assert artifact.keys() == {"path", "type", "desc", "labels"}
