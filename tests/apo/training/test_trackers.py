"""apo/training/trackers.py: what a tracker is told, and that nothing else depends on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import tracking

from apo.core.errors import UserError
from apo.training.checkpointing import Checkpoints
from apo.training.trackers import log_folder, requested
from tests.helpers import tiny_models as tiny
from tests.helpers.fake_tracker import SAID, Fake, steps, train
from tests.helpers.linear_model import line, squares
from tests.helpers.small_repo import ROOT

pytestmark = pytest.mark.usefixtures("trackers")


# Names


@pytest.mark.parametrize("value", ["", " ", ",", None])
def test_requested_without_a_name_is_none(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", value) if value is not None else monkeypatch.delenv("APO_LOG_WITH")
    assert requested() == []
    train()
    assert SAID == [] and not Path(".cache/trackers").exists()


def test_requested_splits_names_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", " broken, fake,broken,")
    assert requested() == ["broken", "fake"]


@pytest.mark.parametrize("name", ["tensorbord", "TensorBoard", "all"])
def test_requested_refuses_an_unknown_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LOG_WITH", f"fake,{name}")
    with pytest.raises(
        UserError, match=rf"APO_LOG_WITH: found '{name}'; expected one .*tensorboard.*; fix it"
    ):
        train(loss_of=None)
    assert SAID == []


def test_requested_refuses_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    monkeypatch.setenv("APO_LOG_WITH", "tensorboard")
    with pytest.raises(
        UserError, match=r"found 'tensorboard', which is not installed; .*pip install tensorboard"
    ):
        train()


def test_log_folder_is_outside_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
from tests.helpers.linear_model import line, run, squares
from tests.helpers import tiny_models as tiny
checkpoints = Checkpoints("test", "key")
checkpoints.folder.mkdir(parents=True)
model = line()
run(model, tiny.optimizer(), squares(model), checkpoints)
assert not {"tensorboard", "wandb", "trackio", "mlflow", "dvclive"} & sys.modules.keys()
"""


def test_requested_without_a_name_imports_nothing() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "APO_LOG_WITH"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", NOTHING], env=environment, check=True)


# Logging


def test_live_logs_every_step_of_the_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = train()
    start, settings, *logs, finish = SAID
    assert start[0] == "start" and start[1].startswith("rm-r1-01234567-")
    assert Path(start[2]) == tmp_path / ".cache/trackers/fake" and finish == ("finish",)
    assert settings[1]["lr"] == tiny.optimizer().lr and settings[1]["optimizer"] == "adamw"
    assert steps() == [1, 2, 3, 4]
    for row, (_, _, values) in zip(curve, logs, strict=True):
        assert values.pop("tokens_per_second") > 0
        assert values == {name: value for name, value in row.items() if name != "step"}
    assert logs[-1][2]["accuracy"] == 0.5
    stderr = capsys.readouterr().err
    assert stderr.count(f"rm of r1: fake logs run {start[1]}, files in {start[2]}") == 1


def stopping(after: int) -> Callable[..., dict[str, torch.Tensor]]:
    """A loss that is interrupted in the step after so many."""
    calls = iter(range(after))
    model_loss = squares(line())

    def loss_of(step: list[int], items: list[int]) -> dict[str, torch.Tensor]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return model_loss(step, items)

    return loss_of


def test_live_resumes_the_run_of_a_resumed_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was saved after step 1 and interrupted after step 3: step 4 alone is new."""
    plain = train("other")
    SAID.clear()
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")
    due = iter([True, False, False])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "should_save", lambda self, is_last: next(due))
        train(loss_of=stopping(3))
    first = SAID[0]
    assert SAID[-1] == ("finish",) and steps() == [1, 2, 3]
    SAID.clear()
    assert len(train()) == len(plain)
    assert SAID[0] == first and [call[0] for call in SAID] == ["start", "log", "finish"] and steps() == [4]
    SAID.clear()
    train()  # nothing is left to train
    assert SAID == []


def test_live_starts_a_run_for_a_new_training(
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
    assert [call[0] for call in SAID[:2]] == ["start", "settings"] and steps() == [3, 4]
    state.with_name("state.safetensors").unlink()
    SAID.clear()
    train()
    assert steps() == [1, 2, 3, 4]


def test_live_reports_a_failing_tracker_once_and_keeps_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APO_LOG_WITH", "broken,fake")
    assert len(train()) == 4
    assert steps() == [1, 1, 2, 3, 4]
    stderr = capsys.readouterr().err
    assert (
        stderr.count("rm of r1: broken stops logging: ConnectionError: no route; the training goes on") == 1
    )
    assert stderr.count("stops logging") == 1


def test_live_reports_a_tracker_that_does_not_start_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Fake, "start", lambda self: 1 / 0)
    assert len(train()) == 4 and SAID == []
    assert capsys.readouterr().err.count("fake stops logging: ZeroDivisionError: division by zero") == 1


def test_live_finishes_the_run_on_an_error() -> None:
    def loss_of(step: list[int], items: list[int]) -> dict[str, torch.Tensor]:
        return {"loss": squares(line())(step, items)["loss"] * float("nan")}

    with pytest.raises(UserError, match="a loss of nan"):
        train(loss_of=loss_of)
    assert [call[0] for call in SAID] == ["start", "settings", "finish"]
