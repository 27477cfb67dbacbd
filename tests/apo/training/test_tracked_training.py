"""apo/training/trackers.py: accelerate's own classes, and outputs whose bytes no tracker changes."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import tracking

from apo.core.records import write_rows
from apo.reward.recipe import train_rm
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny
from tests.helpers.fake_tracker import SAID, Fake, steps, train
from tests.helpers.small_repo import ROOT, change_params
from tests.helpers.torchrun import comparisons

pytestmark = pytest.mark.usefixtures("trackers")


def outputs(name: str) -> dict[str, bytes]:
    """The bytes of all outputs of a reward model's training, by path."""
    folder = Path(name)
    folder.mkdir()
    tiny.backbone(folder / "backbone")
    write_rows(folder / "train.jsonl", comparisons(12))
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    change_params(
        folder / "params.yaml",
        {"model": {"max_length": 64}, "rm": {"epochs": 2, "batch_size": 4, "warmup_steps": 1}},
    )
    os.chdir(folder)
    written = Outputs(Path("out/rm"), Path("out/curves"), Path("out/metrics.json"))
    train_rm(
        "base_rm",
        start=Path("backbone"),
        comparisons=[Path("train.jsonl")],
        outputs=written,
        params=Path("params.yaml"),
    )
    os.chdir("..")
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_trackers_change_no_byte_of_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", "broken,fake")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "with"))
    shown = outputs("with")
    assert len(steps()) > 4 and "accuracy" in SAID[-2][2]
    monkeypatch.delenv("APO_LOG_WITH")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "without"))
    plain = outputs("without")
    assert {"out/rm/model.safetensors", "out/rm/README.md", "out/curves/training.csv"} <= plain.keys()
    assert shown.keys() == plain.keys()
    assert [name for name in plain if shown[name] != plain[name]] == []


@pytest.mark.parametrize("name", sorted(str(name) for name in tracking.LoggerType if str(name) != "all"))
def test_trackers_of_accelerate_take_what_they_are_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their packages replaced: they start, and what they would write lies in the folder."""
    tracker = tracking.LOGGER_TYPE_TO_CLASS[name]
    methods = {key: vars(Fake)[key] for key in ("store_init_configuration", "log", "finish")}
    methods |= {"tracker": SimpleNamespace(info=SimpleNamespace(run_id="id of mlflow"))}
    methods |= {"start": lambda self: SAID.append(("start", vars(self)))}
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, type(name, (tracker,), methods))
    monkeypatch.setattr(tracking, "_available_trackers", [name])
    for variable in ("TRACKIO_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("APO_LOG_WITH", name)
    train()
    assert steps() == [1, 2, 3, 4] and "stops" not in capsys.readouterr().err
    given, folder = SAID[0][1], str(tmp_path / ".cache/trackers" / name)
    if name == "dvclive":  # it writes into dvc.yaml otherwise
        options = given["init_kwargs"]
        assert options["dir"].startswith(folder)
        assert options["dvcyaml"] is False and options["save_dvc_exp"] is False
    if name == "wandb":
        assert given["init_kwargs"]["dir"] == folder and given["run_name"] == "apo"
    if name == "trackio":
        assert os.environ["TRACKIO_DIR"] == folder
    if name == "mlflow":
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{folder}/mlflow.db"
        [state] = Path(".cache/checkpoints").glob("*/mlflow.json")
        assert json.loads(state.read_text())["id"] == "id of mlflow"
