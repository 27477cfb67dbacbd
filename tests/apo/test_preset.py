"""presets/: every one loads through the strict config, and dvc takes it; one command switches, and back."""

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.alignment.settings import read_align
from apo.check_params import SECTIONS
from apo.core import config
from apo.core.errors import UserError
from apo.preset import main, names, read_preset, switch
from tests.helpers.params import read
from tests.helpers.played_repo import dvc, ran, stages
from tests.helpers.small_repo import ROOT, copy_repository, run

PRESETS = ROOT / "presets"
COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
OTHERS = [name for name in names(PRESETS) if name != "demo"]


def load(text: str) -> Any:
    return YAML(typ="safe").load(text)


def preset(name: str) -> dict[str, Any]:
    values = load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return leaves({key: value for key, value in values.items() if key != "fetch"})


def leaves(node: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {above: node}
    values: dict[str, Any] = {}
    for key, value in node.items():
        values |= leaves(value, f"{above}.{key}".strip("."))
    return values


@functools.cache
def values_of_the_demo() -> dict[str, Any]:
    return leaves(load(COMMITTED))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED, encoding="utf-8")
    return path


def test_presets_are_four() -> None:
    assert names(PRESETS) == ["demo", "hh_1b", "paper", "smollm2"]


def test_preset_demo_holds_every_key_of_the_others() -> None:
    committed = values_of_the_demo()
    touched = {key for name in OTHERS for key in preset(name)}
    assert preset("demo") == {key: committed[key] for key in touched}


@pytest.mark.parametrize("name", OTHERS)
def test_preset_holds_what_differs_from_the_demo(name: str) -> None:
    committed = values_of_the_demo()
    assert {key for key, value in preset(name).items() if committed[key] == value} == set()


@pytest.mark.parametrize("name", names(PRESETS))
def test_preset_loads_through_the_strict_config(params: Path, name: str) -> None:
    switch(name, params=params, folder=PRESETS)
    for section in SECTIONS:
        read(params, section)
    for round in config.check_rounds(params):
        read_align(params, round)
    config.read_seed(params)
    written = leaves(load(params.read_text(encoding="utf-8")))
    assert written == values_of_the_demo() | preset(name)
    assert all(type(written[key]) is type(value) for key, value in preset(name).items())


@pytest.mark.parametrize("name", OTHERS)
def test_switch_there_and_back_keeps_every_byte(params: Path, name: str) -> None:
    changed = switch(name, params=params, folder=PRESETS)
    text = params.read_text(encoding="utf-8")
    comments = [line.strip() for line in COMMITTED.splitlines() if line.strip().startswith("#")]
    assert [line.strip() for line in text.splitlines() if line.strip().startswith("#")] == comments
    assert len(changed) == len(preset(name))
    assert switch(name, params=params, folder=PRESETS) == []
    back = switch("demo", params=params, folder=PRESETS)
    assert params.read_text(encoding="utf-8") == COMMITTED
    assert len(back) == len(changed)


def test_switch_prints_what_changed(params: Path) -> None:
    changed = switch("paper", params=params, folder=PRESETS)
    assert "rm.lr: 1.0e-3 -> 1.0e-6" in changed
    assert "model.separator: '' -> '<sep>'" in changed
    assert "rounds: - id: r1 prev: r0 -> - id: r1 prev: r0 - id: r2 prev: r1 - id: r3 prev: r2" in changed


def test_switch_does_not_depend_on_the_preset_before(params: Path) -> None:
    switch("paper", params=params, folder=PRESETS)
    expected = params.read_text(encoding="utf-8")
    switch("hh_1b", params=params, folder=PRESETS)
    switch("paper", params=params, folder=PRESETS)
    assert params.read_text(encoding="utf-8") == expected


def test_switch_leaves_a_key_that_no_preset_has(params: Path) -> None:
    params.write_text(COMMITTED.replace("\nseed: 1\n", "\nseed: 7\n"), encoding="utf-8")
    switch("paper", params=params, folder=PRESETS)
    assert config.read_seed(params) == 7


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("rm: {learning_rate: 1.0e-6}", r"mine.yaml: rm.learning_rate: found 1.0e-6; expected a key of"),
        ("rn: {lr: 1.0e-6}", r"mine.yaml: rn: found a section; expected a key of params.yaml"),
        ("rm: 1", r"mine.yaml: rm: found 1; expected a key of params.yaml, with a value where"),
        ("rm: {lr: {r1: 1}}", r"mine.yaml: rm.lr: found a section; expected a key"),
        ("rm: [", r"mine.yaml: found while parsing"),
    ],
)
def test_switch_to_an_invalid_preset_changes_nothing(params: Path, written: str, message: str) -> None:
    folder = params.parent / "presets"
    shutil.copytree(PRESETS, folder)
    (folder / "mine.yaml").write_text(written, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        switch("mine", params=params, folder=folder)
    assert params.read_text(encoding="utf-8") == COMMITTED


def test_main_refuses_an_unknown_preset(params: Path) -> None:
    with pytest.raises(
        UserError, match=r"found no papre.yaml; expected one of demo, hh_1b, paper, smollm2; write"
    ):
        switch("papre", params=params, folder=PRESETS)


def test_main_says_what_is_not_fetched(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PRESETS, params.parent / "presets")
    monkeypatch.chdir(params.parent)
    (params.parent / "pretrained" / "smollm2-135m-instruct").mkdir(parents=True)
    assert main(["smollm2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "not fetched yet: data/input/hh-rlhf; run `make fetch NAME=smollm2`"
    assert main(["demo"]) == 0
    assert capsys.readouterr().out.endswith("values changed to preset demo\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_dvc_runs_with_a_preset(tmp_path: Path, name: str) -> None:
    """It would run every stage of every round, once the checkpoints are there that the preset names."""
    copy = copy_repository(tmp_path, small=False)
    output = run(["python", "-m", "apo.preset", name], copy)
    assert output.returncode == 0 and f"values changed to preset {name}" in output.stdout
    all_stages = stages(copy)
    for stage in all_stages.values():  # dvc looks at the outputs of a stage before that of the next one
        for out in [*stage["outs"], *stage["metrics"]]:
            path = copy / (next(iter(out)) if isinstance(out, dict) else out)
            (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.touch()
    starts = [preset(name)[f"{one}.start"] for one in ("backbone", "actor")]
    for stage in all_stages.values():  # a stage depends on single files of a folder
        for path in [copy / dep for dep in stage["deps"] if dep not in starts]:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.mkdir() if not path.suffix else path.touch()
    assert starts[0] in run(["dvc", "repro", "--dry"], copy).stderr
    for start in starts:
        (copy / start).mkdir(parents=True, exist_ok=True)
    assert ran(dvc(copy, "repro", "--dry")) == set(all_stages)
    rounds = len(preset(name).get("rounds", [1]))
    assert sum(stage.startswith("train_apo_rm@") for stage in all_stages) == rounds


@pytest.mark.parametrize("name", names(ROOT / "presets"))
def test_preset_pins_what_its_parameters_start_from(name: str) -> None:
    values, pinned = read_preset(name, ROOT / "presets")
    places = {one.to: one.type for one in pinned}
    starts = {values["backbone"]["start"], values["actor"]["start"]}
    if name in ("hh_1b", "smollm2"):
        assert starts == {to for to, kind in places.items() if kind == "model"}
        assert [values["data"]["hub"]["path"]] == [to for to, kind in places.items() if kind == "dataset"]
    else:
        assert pinned == []


def test_presets_pin_a_folder_to_one_entry() -> None:
    entries: dict[str, Any] = {}
    for name in names(ROOT / "presets"):
        for one in read_preset(name, ROOT / "presets")[1]:
            assert entries.setdefault(one.to, one) == one


@pytest.mark.parametrize("text", ["", "- a list\n", "text\n"])
def test_switch_refuses_parameters_without_sections(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml: found .*; expected the sections of params\.yaml"):
        switch("smollm2", params=tmp_path / "params.yaml", folder=PRESETS)
    assert (tmp_path / "params.yaml").read_text() == text
