"""The pipeline declares exactly what its stages read and write: code, parameters, data, metrics."""

import ast
import json
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from apo.alignment.settings import Alignment
from apo.plots.tables import COLUMNS
from tests.helpers.import_closure import ROOT, closure
from tests.helpers.pipeline_file import (
    ALL,
    PARAMS,
    PIPELINE,
    STAGES,
    Stage,
    calls,
    needed,
    parsed,
    text,
)

PROMISED = {"split", "sample", "convert", "train_base_rm", "train_apo_rm", "test_rm", "score", "rjs"}
OUTPUTS = re.compile(r"out(_\w+)?|curves|metrics")  # arguments of a command that name what it writes
READERS = ("read_section", "read_seed", "read_count", "read_value", "read_all", "check_rounds", "read_align")
each = pytest.mark.parametrize("stage", ALL, ids=[stage.address for stage in ALL])


def test_the_stages_that_users_know_are_there() -> None:
    assert STAGES.keys() >= PROMISED
    assert {stage.script for stage in ALL} == {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("stages/*.py")
        if path.stem not in ("__init__", "distributed")
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
            keys = Alignment.model_fields.keys() - {"lr"}
            return {"training", f"align.lr.{arguments['round']}", *(f"align.{key}" for key in keys)}
        case "read_all":
            return set(PARAMS)
    defaults = {text(word.value, arguments) for word in call.keywords if word.arg == "defaults"}
    return {text(call.args[1], arguments), *defaults}


@each
def test_the_parameters_are_those_that_are_read(stage: Stage) -> None:
    read: set[str] = set()
    for path in set(needed(stage.script)) - {"apo/core/config.py"}:
        for function, call in calls(path, *READERS):
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
    main = next(node for node in parsed(stage.script).body if getattr(node, "name", "") == "main")
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


@each
def test_a_stage_says_what_it_does(stage: Stage) -> None:
    assert len(stage.desc.split()) >= 4
    assert (ast.get_docstring(parsed(stage.script)) or "").startswith(f"{Path(stage.script).stem}: ")


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
    for _, call in calls(stage.script, "train_rm", "fine_tune", "align_model", "pretrain"):
        names["name"] = text(call.args[0], names)
    keys = set()
    for path in needed(stage.script):
        for _, call in calls(path, "write_json"):
            if ast.unparse(call.args[0]).split(".")[-1] == "metrics":
                content = call.args[1]
                assert isinstance(content, ast.Dict)
                keys |= {text(key, names) for key in content.keys if key}
    return keys


def test_every_metrics_file_has_a_key_of_its_own() -> None:
    """Otherwise `dvc exp show` names the columns by their path."""
    measured = [stage for stage in ALL if stage.metrics]
    keys = [_metric_key(stage) for stage in measured]
    assert all(len(of_stage) == 1 for of_stage in keys), keys
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
        fields = {"x", "y", "rev", "series", "order"} | set(COLUMNS[table.stem])
        assert _fields(template) - {"<DVC_METRIC_X>"} <= fields, name
    assert drawn == COLUMNS.keys()


def _fields(node: Any) -> set[str]:
    """The names under `field` anywhere in a template."""
    if isinstance(node, list):
        return set().union(*map(_fields, node))
    if not isinstance(node, dict):
        return set()
    names = {node["field"]} if isinstance(node.get("field"), str) else set()
    return names.union(*map(_fields, node.values()))


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
