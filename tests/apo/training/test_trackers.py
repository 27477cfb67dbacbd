"""apo/training/trackers.py: what a tracker is told, and that nothing else depends on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.reward.recipe import Outputs, train_rm
from apo.training.checkpointing import Checkpoints
from apo.training.trackers import log_folder, requested
from apo.training.trainer import training_loop
from tests.apo.training.test_trainer import line, squares
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT, change_params
from tests.helpers.torchrun import comparisons

SAID: list[tuple[Any, ...]] = []


class Fake(GeneralTracker):
    """Remembers what it is told, and draws random numbers as it likes."""

    name = "fake"
    requires_logging_directory = True

    def __init__(self, run: str, folder: str) -> None:
        super().__init__()
        self.run, self.folder = run, folder

    @property
    def tracker(self) -> None:
        return None

    @tracking.on_main_process
    def start(self) -> None:
        tracking.logger.debug("accelerate's logger works")
        SAID.append(("start", self.run, self.folder))

    @tracking.on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        SAID.append(("settings", values))

    @tracking.on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        torch.manual_seed(7)
        SAID.append(("log", step, values))

    @tracking.on_main_process
    def finish(self) -> None:
        SAID.append(("finish",))


class Broken(Fake):
    """Loses its network at step 2."""

    name = "broken"

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        if step == 2:
            raise ConnectionError("no\nroute")
        super().log(values, step)


@pytest.fixture(autouse=True)
def trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the place of the repository, and the fakes in accelerate's table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    monkeypatch.setenv("APO_LOG_WITH", "fake")
    monkeypatch.setattr(
        tracking, "LOGGER_TYPE_TO_CLASS", tracking.LOGGER_TYPE_TO_CLASS | {"fake": Fake, "broken": Broken}
    )
    SAID.clear()


def train(key: str = "0123456789", *, loss_of: Any = None) -> list[dict[str, float]]:
    """Four steps of 8 rows of 3 tokens, with a look after the last one."""
    checkpoints = Checkpoints("rm-r1", key)
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    model = line()
    return training_loop(
        model,
        tiny.optimizer(),
        batches=[list(range(8))] * 4,
        lengths=[3] * 8,
        loss_of=loss_of or squares(model),
        desc="rm of r1",
        checkpoints=checkpoints,
        eval_fn=lambda step: {"accuracy": 0.5},
        eval_steps=4,
    )


def steps() -> list[int]:
    return [said[1] for said in SAID if said[0] == "log"]


# Names


@pytest.mark.parametrize("value", ["", " ", ",", None])
def test_no_name_is_no_tracker(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", value) if value is not None else monkeypatch.delenv("APO_LOG_WITH")
    assert requested() == []
    train()
    assert SAID == [] and not Path(".cache/trackers").exists()


def test_several_names_have_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", " broken, fake,broken,")
    assert requested() == ["broken", "fake"]


@pytest.mark.parametrize("name", ["tensorbord", "TensorBoard", "all"])
def test_an_unknown_name_is_one_message_before_the_training(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_LOG_WITH", f"fake,{name}")
    with pytest.raises(
        UserError, match=rf"APO_LOG_WITH: found '{name}'; expected one .*tensorboard.*; fix it"
    ):
        train(loss_of=None)
    assert SAID == []


def test_a_tracker_that_is_not_installed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    monkeypatch.setenv("APO_LOG_WITH", "tensorboard")
    with pytest.raises(
        UserError, match=r"found 'tensorboard', which is not installed; .*pip install tensorboard"
    ):
        train()


def test_the_folder_is_not_where_outputs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_folder() == tmp_path / ".cache/trackers"
    for place in ("models/rm_base", ".", str(tmp_path / "logs")):
        monkeypatch.setenv("APO_LOG_DIR", place)
        with pytest.raises(
            UserError, match=r"APO_LOG_DIR: found .*; expected a folder in .*\.cache or outside"
        ):
            train()
    for place in (tmp_path / ".cache/logs", tmp_path.parent / "logs"):
        monkeypatch.setenv("APO_LOG_DIR", str(place))
        assert log_folder() == place
    ignored = ["git", "check-ignore", "-q", ".cache/trackers/tensorboard/x"]
    assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0


NOTHING = """
import sys
from apo.training.checkpointing import Checkpoints
from apo.training.trainer import training_loop
from tests.apo.training.test_trainer import line, run, squares
from tests.helpers import tiny_models as tiny
checkpoints = Checkpoints("test", "key")
checkpoints.folder.mkdir(parents=True)
model = line()
run(model, tiny.optimizer(), squares(model), checkpoints)
assert not {"tensorboard", "wandb", "trackio", "mlflow", "dvclive"} & sys.modules.keys()
"""


def test_without_a_name_nothing_is_imported() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "APO_LOG_WITH"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", NOTHING], env=environment, check=True)


# Logging


def test_every_step_is_logged_as_it_stands_in_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = torch.get_rng_state()
    curve = train()
    assert torch.equal(torch.get_rng_state(), random)
    start, settings, *logs, finish = SAID
    assert start[0] == "start" and start[1].startswith("rm-r1-01234567-")
    assert Path(start[2]) == tmp_path / ".cache/trackers/fake" and finish == ("finish",)
    assert settings[1]["lr"] == tiny.optimizer().lr and settings[1]["optimizer"] == "adamw"
    assert steps() == [1, 2, 3, 4]
    for row, (_, _, values) in zip(curve, logs, strict=True):
        assert values.pop("tokens_per_second") > 0
        assert values == {name: value for name, value in row.items() if name != "step"}
    assert logs[-1][2]["accuracy"] == 0.5
    said = capsys.readouterr().err
    assert said.count(f"rm of r1: fake logs run {start[1]}, files in {start[2]}") == 1


def stopping(after: int) -> Callable[..., dict[str, torch.Tensor]]:
    """A loss that is interrupted in the step after so many."""
    calls = iter(range(after))
    model_loss = squares(line())

    def loss_of(step: list[int], items: list[int]) -> dict[str, torch.Tensor]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return model_loss(step, items)

    return loss_of


def test_a_resumed_training_goes_on_in_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was saved after step 1 and interrupted after step 3: step 4 alone is new."""
    plain = train("other")
    SAID.clear()
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")
    due = iter([True, False, False])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "due", lambda self, last: next(due))
        train(loss_of=stopping(3))
    first = SAID[0]
    assert SAID[-1] == ("finish",) and steps() == [1, 2, 3]
    SAID.clear()
    assert len(train()) == len(plain)
    assert SAID[0] == first and [said[0] for said in SAID] == ["start", "log", "finish"] and steps() == [4]
    SAID.clear()
    train()  # nothing is left to train
    assert SAID == []


def test_a_training_that_starts_anew_or_without_a_known_run_gets_a_run_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")
    with pytest.raises(KeyboardInterrupt):
        train(loss_of=stopping(2))
    [state] = Path(".cache/checkpoints").glob("*/fake.json")
    assert json.loads(state.read_text())["step"] == 2
    state.write_text("{")
    SAID.clear()
    train()
    assert [said[0] for said in SAID[:2]] == ["start", "settings"] and steps() == [3, 4]
    state.with_name("state.safetensors").unlink()
    SAID.clear()
    train()
    assert steps() == [1, 2, 3, 4]


def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APO_LOG_WITH", "broken,fake")
    assert len(train()) == 4
    assert steps() == [1, 1, 2, 3, 4]
    said = capsys.readouterr().err
    assert said.count("rm of r1: broken stops logging: ConnectionError: no route; the training goes on") == 1
    assert said.count("stops logging") == 1


def test_a_tracker_that_does_not_start_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Fake, "start", lambda self: 1 / 0)
    assert len(train()) == 4 and SAID == []
    assert capsys.readouterr().err.count("fake stops logging: ZeroDivisionError: division by zero") == 1


def test_an_error_of_the_training_finishes_the_run() -> None:
    def loss_of(step: list[int], items: list[int]) -> dict[str, torch.Tensor]:
        return {"loss": squares(line())(step, items)["loss"] * float("nan")}

    with pytest.raises(UserError, match="a loss of nan"):
        train(loss_of=loss_of)
    assert [said[0] for said in SAID] == ["start", "settings", "finish"]


# Outputs


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


def test_the_bytes_of_all_outputs_are_the_same_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# accelerate's own classes


@pytest.mark.parametrize("name", sorted(str(name) for name in tracking.LoggerType if str(name) != "all"))
def test_the_classes_of_accelerate_take_what_they_are_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their packages replaced: they start, and what they would write lies in the folder."""
    own = tracking.LOGGER_TYPE_TO_CLASS[name]
    methods = {key: vars(Fake)[key] for key in ("store_init_configuration", "log", "finish")}
    methods |= {"tracker": SimpleNamespace(info=SimpleNamespace(run_id="id of mlflow"))}
    methods |= {"start": lambda self: SAID.append(("start", vars(self)))}
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, type(name, (own,), methods))
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
