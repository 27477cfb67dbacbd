"""The pipeline declares exactly what its stages read and write: code, parameters, data, metrics."""

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from apo.alignment.settings import Alignment
from apo.plots.tables import COLUMNS
from apo.splits.splitting import EVALUATED_ON
from tests.helpers.import_closure import ROOT, closure, files_needed, imports_of
from tests.helpers.played_repo import expanded

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARAMS["rounds"] = [{"id": "r1", "prev": "r0"}, {"id": "r2", "prev": "r1"}]  # what one round hides
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
PROMISED = {"split", "sample", "convert", "train_base_rm", "train_apo_rm", "test_rm", "score", "rjs"}
LIGHT = ["data", "start", "plots", "split", "golden", "convert", "rjs", "judge"]
# Scripts that more than one stage runs, or one of another name.
VARIANTS = {
    "sample": ["sample_rm"],
    "score": ["score_base"],
    "answer": ["answer_actor"],
    "evaluate_rm": ["evaluate_base_rm", "evaluate_apo_rm", "evaluate_test_rm"],
}
OUTPUTS = re.compile(r"out(_\w+)?|curves|metrics")  # arguments of a command that name what it writes


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


def _stages() -> Iterator[Stage]:
    for address, filled in expanded(STAGES, PARAMS).items():
        words = shlex.split(filled["cmd"])
        assert words[0] in ("python", "${APO_LAUNCH:-python}") and words[1] == "-m"
        script = words[2].removeprefix("stages.")
        assert words[2] == f"stages.{script}"
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


ALL = list(_stages())
READERS = ("read_section", "read_seed", "read_count", "read_value", "read_all", "check_rounds", "read_align")
each = pytest.mark.parametrize("stage", ALL, ids=[stage.address for stage in ALL])


@cache
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
    """Calls of some functions in a file, but for those inside these functions themselves."""
    open_: list[ast.AST] = [_parsed(path)]
    while open_:
        node = open_.pop()
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            yield node.func.id, node
        open_ += ast.iter_child_nodes(node)


@cache
def _needed(script: str) -> list[str]:
    """The files that a stage's script imports, and itself."""
    return sorted(path.relative_to(ROOT).as_posix() for path in files_needed(ROOT / script))


def test_the_stages_that_users_know_are_there() -> None:
    assert STAGES.keys() >= PROMISED
    assert {stage.script for stage in ALL} == {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("stages/*.py") if path.stem != "__init__"
    }


@each
def test_the_folders_are_those_that_the_script_imports_from(stage: Stage) -> None:
    """Nothing is imported from outside of them, and none is there for nothing."""
    assert sorted(stage.code) == sorted(closure(ROOT / stage.script))
    assert len(stage.deps) == len(set(stage.deps))


def _read(function: str, call: ast.Call, arguments: dict[str, str]) -> set[str]:
    """The parameters that a call reads."""
    match function:
        case "read_seed":
            return {"seed"}
        case "check_rounds":
            return {"rounds"}
        case "read_align":
            own = Alignment.model_fields.keys() - {"lr"}
            return {"training", f"align.lr.{arguments['round']}", *(f"align.{key}" for key in own)}
        case "read_all":
            return set(PARAMS)
    defaults = {_text(word.value, arguments) for word in call.keywords if word.arg == "defaults"}
    return {_text(call.args[1], arguments), *defaults}


@each
def test_the_parameters_are_those_that_are_read(stage: Stage) -> None:
    read: set[str] = set()
    for path in set(_needed(stage.script)) - {"apo/core/config.py"}:
        for function, call in _calls(path, *READERS):
            read |= _read(function, call, stage.arguments)
    assert read == stage.params


@each
def test_the_inputs_of_the_command_are_those_that_are_declared(stage: Stage) -> None:
    inputs = {value for name, value in stage.arguments.items() if not OUTPUTS.fullmatch(name)}
    assert {value for value in inputs if "/" in value} == stage.data


@each
def test_the_outputs_of_the_command_are_those_that_are_declared(stage: Stage) -> None:
    """A path of the command is a file or folder that is declared, or the folder of several."""
    named = {value for name, value in stage.arguments.items() if OUTPUTS.fullmatch(name)}
    for path in stage.written:
        assert any(path == name or path.startswith(f"{name}/") for name in named), path
    for name in named:
        assert any(path == name or path.startswith(f"{name}/") for path in stage.written), name


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
    sources = {PARAMS["data"]["dir"], PARAMS["backbone"]["start"], PARAMS["actor"]["start"]}
    sources.add("data/chat_templates")
    for dep in stage.data - sources:
        assert any(_overlap(dep, out) for other in ALL for out in other.written), dep
    assert not stage.data & set(stage.written)


def _overlap(dep: str, out: str) -> bool:
    """Whether one is the other, or in it."""
    return f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")


def test_every_output_has_one_stage_and_the_stages_have_an_order() -> None:
    maker = {out: stage.address for stage in ALL for out in stage.written}
    assert len(maker) == sum(len(stage.written) for stage in ALL)
    graph = {
        stage.address: {maker[out] for out in maker for dep in stage.data if _overlap(dep, out)}
        for stage in ALL
    }
    order = list(TopologicalSorter(graph).static_order())
    assert order[0] == "data"
    assert order.index("test_rm") < order.index("answer@round0-apo") < order.index("evaluate@round0")
    assert order.index("align@round0-base") < order.index("sample@round1-base")
    assert order.index("evaluate_base_rm") < order.index("score_base@round0")  # the gate
    assert order.index("evaluate_apo_rm@round1") < order.index("score@round1")
    assert order.index("tables@round0") < order.index("tables@round1") < order.index("plots")


MEASURING = {
    "answer",
    "answer_actor",
    "evaluate",
    "payoff",
    "judge",
    "tables",
    "plots",
    *VARIANTS["evaluate_rm"],
}
TRAINING = {"backbone", "actor", "train_base_rm", "train_apo_rm", "test_rm", "align"}


def test_what_is_made_of_the_test_set_trains_nothing() -> None:
    """Answers to test queries and the judge are read by what measures alone; nothing trained reads test."""
    for stage in ALL:
        if stage.name in MEASURING:
            assert not any(out.startswith(("models/", "data/rjs")) for out in stage.outs), stage.address
            continue
        of_test = ("data/split/test", "data/answers", "data/evaluate", "data/payoff", "models/rm_test")
        assert not any(dep.startswith(of_test) for dep in stage.data), stage.address
        reads_valid = "data/split/rm_valid.jsonl" in stage.data
        assert not reads_valid or stage.name in ("train_base_rm", "train_apo_rm", "test_rm"), stage.address
        reads_metrics = any(dep.startswith("metrics/") for dep in stage.data)
        assert not reads_metrics or stage.name in ("score", "score_base"), stage.address  # the gate


def test_the_arms_do_not_touch_each_other() -> None:
    """What the APO RM makes is read by no stage of the control arm, in any round."""
    for stage in ALL:
        if stage.address.endswith("-base") or stage.name in ("score_base", "evaluate_base_rm"):
            assert not any("apo" in dep for dep in stage.data), stage.address
        if stage.name in ("sample_rm", "convert", "evaluate_apo_rm", "score") or stage.address.endswith(
            "-apo"
        ):
            assert not any("base" in dep for dep in stage.data), stage.address


def test_an_earlier_round_reads_nothing_of_a_later_one() -> None:
    """But for payoff: the RMs of all rounds rate the answers of all language models."""
    for stage in ALL:
        if "@round0" in stage.address and stage.name != "payoff":
            assert not any("r2" in dep.split("/") for dep in stage.data), stage.address


def _trained_on(checkpoint: str) -> set[str]:
    """The comparisons that a reward model, or one that it may have started from, learned from, as paths."""
    [stage] = [stage for stage in ALL if checkpoint in stage.outs]
    starts = {dep for dep in stage.data if dep.startswith("models/rm_")}
    own: set[str] = set()
    for _, call in _calls(stage.script, "train_rm"):
        [given] = [word.value for word in call.keywords if word.arg == "comparisons"]
        assert isinstance(given, ast.List)
        own |= {_text(node, stage.arguments) for node in given.elts}
    return own.union(*map(_trained_on, starts))


SPLITS = {"rm_train": "rm", "llm_train": "llm", "rm_valid": "valid", "test": "test"}


@pytest.mark.parametrize("name", VARIANTS["evaluate_rm"])
def test_no_rm_is_measured_on_what_it_is_trained_on(name: str) -> None:
    """`valid` trains the testing RM, so it never measures it; `split` proves all the other pairs disjoint."""
    for stage in (stage for stage in ALL if stage.name == name):
        measured = {key: stage.arguments[key] for key in ("test", "valid") if key in stage.arguments}
        assert measured.keys() == ({"test"} if name == "evaluate_test_rm" else {"test", "valid"})
        assert set(measured.values()) == {dep for dep in stage.data if dep.startswith("data/split/")}
        trained = _trained_on(stage.arguments["model"])
        assert trained and not trained & set(measured.values())
        for path in trained:
            proven = set(EVALUATED_ON[SPLITS[Path(path).stem]])
            assert {SPLITS[Path(other).stem] for other in measured.values()} <= proven, (path, stage.address)


def test_the_gate_reads_the_evaluation_of_the_rm_that_scores() -> None:
    for stage in (stage for stage in ALL if stage.script == "stages/score.py"):
        [evaluation] = [one for one in ALL if stage.arguments["evaluation"] in one.metrics]
        assert evaluation.arguments["model"] == stage.arguments["model"], stage.address
        assert "valid" in evaluation.arguments, stage.address


@each
def test_a_stage_says_what_it_does(stage: Stage) -> None:
    assert len(stage.desc.split()) >= 4
    assert (ast.get_docstring(_parsed(stage.script)) or "").startswith(f"{Path(stage.script).stem}: ")


@each
def test_metrics_are_tracked_by_git_and_outputs_by_dvc(stage: Stage) -> None:
    assert len(stage.metrics) == (stage.name not in ("start", "tables", "plots"))
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
    for path in _needed(stage.script):
        for _, call in _calls(path, "write_json"):
            if ast.unparse(call.args[0]).split(".")[-1] == "metrics":
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
    """A plot draws a column of a table whose name is the same for any rounds: `plots diff` matches by it."""
    assert [stage.outs for stage in ALL if stage.name == "plots"] == [["metrics/plots"]]
    drawn = set()
    for entry in PIPELINE["plots"]:
        ((name, plot),) = entry.items()
        ((path, column),) = plot["y"].items()
        table = Path(path)
        assert table.parent.as_posix() == "metrics/plots" and table.suffix == ".csv", name
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


def _leaves(node: Any, above: str = "") -> Iterator[str]:
    """Dotted names of all values."""
    if not isinstance(node, dict):
        yield above
        return
    for key, value in node.items():
        yield from _leaves(value, f"{above}.{key}".strip("."))


def test_every_parameter_belongs_to_a_stage() -> None:
    """But for what the command `apo.report` reads, and the learning rates of rounds that are not played."""
    declared = set.union(*(stage.params for stage in ALL))
    of_no_stage = {
        leaf for leaf in _leaves(PARAMS) if not any(f"{leaf}.".startswith(f"{name}.") for name in declared)
    }
    assert of_no_stage == {"align.lr.r3", *(f"report.{key}" for key in PARAMS["report"])}


def test_an_experiment_leaves_the_comments_of_params_yaml(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the file anew, every list too; set back, it is what is committed."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    for value in (0.05, PARAMS["apo"]["coeff"]):
        apply_overrides(path, [f"apo.coeff={value}"])
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


# Imports -------------------------------------------------------------------------------------------

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
            own, other = _package(path), _package(imported)
            assert other == own or height[other] < height[own], f"{path} imports {imported}"


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


@pytest.mark.parametrize("path", sorted(ROOT.glob("stages/[a-z]*.py")), ids=lambda path: path.stem)
def test_a_stage_script_is_a_recipe(path: Path) -> None:
    """Imports, perhaps constants, `main`, perhaps private helpers, the call under `__main__`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef, ast.If)
    assert all(isinstance(node, allowed) for node in body)
    made = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert made[0] == "main" and all(name.startswith("_") for name in made[1:])
    assert isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'"


def test_dvc_and_an_editor_read_the_file() -> None:
    """By the schema of dvc; and without repeats in lists, as that of its editor extension asks."""
    from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    COMPILED_MULTI_STAGE_SCHEMA(content)
    for name, declared in STAGES.items():
        for kind in ("deps", "params", "outs"):
            listed = declared.get(kind, [])
            assert len(listed) == len(set(map(str, listed))), (name, kind)
        sides = declared.get("matrix", {}).values()
        assert all(isinstance(side, list) or re.fullmatch(r"\$\{.*?\}", side) for side in sides), name
    for name, artifact in content["artifacts"].items():
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-/]*[a-z0-9])?", name)
        assert artifact.keys() == {"path", "type", "desc", "labels"}
