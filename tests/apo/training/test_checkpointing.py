"""apo/training/checkpointing.py: a killed training goes on to the same bytes; another starts anew."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apo.core.errors import UserError
from apo.training import checkpointing as module
from apo.training.checkpointing import Checkpoints, tensors_of
from apo.training.trainer import training_loop
from tests.helpers import tiny_models as tiny
from tests.helpers.ranks import run_ranks

STEPS = 6


pytestmark = pytest.mark.usefixtures("checkpoint_root")


class Killed(Exception):
    """Stands for the end of the process."""


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


def network() -> nn.Module:
    """With noise, so that the state of the random generator counts, and a buffer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), Noise(), nn.Linear(8, 1))


def train(
    key: str, *, kill_before: int | None = None, steps: int = STEPS, kind: str = "adamw"
) -> tuple[dict[str, Tensor], list[dict[str, float]], list[int]]:
    """Weights, the curve, and the steps that were computed."""
    model, computed = network(), []
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(steps, 16, 4, generator=generator)

    def loss_of(items: list[int], micro: list[int]) -> dict[str, Tensor]:
        if items == [kill_before]:
            raise Killed
        computed.extend(items)
        return {"loss": (model(x[micro[0]]) - 1).square().mean()}

    with Checkpoints("test", key).lock() as checkpoints:
        curve = training_loop(
            model,
            tiny.optimizer(optimizer=kind, schedule="linear", weight_decay=0.1, warmup_steps=2),
            batches=[[step] for step in range(steps)],
            lengths=[1] * steps,
            loss_of=loss_of,
            desc="test",
            checkpoints=checkpoints,
        )
    return model.state_dict(), curve, computed


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


# Killed and run again


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("kill_before", [1, 3, 5])
def test_a_killed_training_ends_in_the_same_bits(kill_before: int, kind: str) -> None:
    weights, curve, _ = train("whole", kind=kind)
    with pytest.raises(Killed):
        train("killed", kill_before=kill_before, kind=kind)
    torch.manual_seed(999)  # what the new process happens to have
    again, again_curve, computed = train("killed", kind=kind)
    assert computed == list(range(kill_before, STEPS))
    assert again_curve == curve
    assert_same(again, weights)


def test_a_training_killed_twice_too() -> None:
    weights, curve, _ = train("whole")
    for kill_before in (2, 4):
        with pytest.raises(Killed):
            train("killed", kill_before=kill_before)
    again, again_curve, computed = train("killed")
    assert (computed, again_curve) == ([4, 5], curve)
    assert_same(again, weights)


def test_a_training_killed_before_its_first_step_starts() -> None:
    with pytest.raises(Killed):
        train("killed", kill_before=0)
    _, _, computed = train("killed")
    assert computed == list(range(STEPS))


def test_a_training_that_is_done_is_not_done_again() -> None:
    """Killed while the model was being written: the weights are there, no step is taken."""
    weights, curve, _ = train("done")
    again, again_curve, computed = train("done")
    assert (computed, again_curve) == ([], curve)
    assert_same(again, weights)


def test_saving_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    often = train("often")
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "1000000000")
    rarely = train("rarely")
    assert rarely[1] == often[1]
    assert_same(rarely[0], often[0])


def test_between_two_states_time_must_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "1000000000")
    with pytest.raises(Killed):
        train("killed", kill_before=5)
    assert train("killed")[2] == list(range(STEPS))  # nothing had been saved
    assert train("killed")[2] == []  # after the last step it is


def test_saving_takes_a_fiftieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which a step takes 1 second and a save takes 3, one save comes every 150 seconds."""
    now, saves = 0.0, []
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "30")
    monkeypatch.setattr(module.time, "monotonic", lambda: now)

    def save(*_: Any, **__: Any) -> None:
        nonlocal now
        saves.append(now)
        now += 3.0

    monkeypatch.setattr(module, "save_file", save)
    monkeypatch.setattr(Path, "replace", lambda *_: None)
    model = network()
    checkpoints = Checkpoints("test", "slow")
    for _ in range(1000):
        now += 1.0
        if checkpoints.should_save(is_last=False):
            checkpoints.save([], lambda: tensors_of(model, []), run_info={})
    assert saves[0] == 30.0
    assert all(150.0 <= later - earlier - 3.0 <= 151.0 for earlier, later in itertools.pairwise(saves))
    assert len(saves) == 7


def test_no_process_goes_on_before_the_state_is_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def save() -> list[dict[str, Any]]:
        checkpoints = Checkpoints("test", "key")
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        checkpoints.save([{"step": 1}], dict, run_info={})
        return checkpoints.curve()

    assert run_ranks(monkeypatch, 3, save) == [[{"step": 1}]] * 3


def test_a_state_that_was_half_written_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("killed", kill_before=3)
    [folder] = (tmp_path / ".cache" / "checkpoints").iterdir()
    (folder / "state.tmp").write_bytes(b"half")
    assert train("killed")[2] == [3, 4, 5]


# Which training it is


def test_another_key_starts_anew() -> None:
    with pytest.raises(Killed):
        train("one", kill_before=3)
    assert train("other")[2] == list(range(STEPS))


# One at a time


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_on_the_same_training_is_refused() -> None:
    checkpoints = Checkpoints("test", "key")
    checkpoints.folder.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(checkpoints.folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match="found another process that runs this stage"),
            checkpoints.lock(),
        ):
            raise AssertionError("not reached")
        with Checkpoints("test", "another_key").lock():
            pass  # another training may run
        other.communicate()
    with checkpoints.lock() as locked:  # the lock ends with the process
        assert locked is checkpoints


def test_the_lock_ends_with_an_error() -> None:
    for _ in range(2):
        with pytest.raises(Killed), Checkpoints("test", "key").lock():
            raise Killed


def test_old_states_go_and_those_of_other_stages_stay(tmp_path: Path) -> None:
    import os

    root = tmp_path / ".cache" / "checkpoints"
    names = [f"apo_rm-{key}" for key in "abcdef"] + ["base_rm-a", "rm-a"]
    for age, name in enumerate(names):
        (root / name).mkdir(parents=True)
        (root / name / "lock").touch()
        os.utime(root / name, (age, age))
    with Checkpoints("apo_rm", "a").lock():
        assert len(list(root.iterdir())) == len(names)
    # Its own state stays: it was the oldest, and is the newest since it runs.
    left = {path.name for path in root.iterdir()}
    assert left == {"apo_rm-a", "apo_rm-d", "apo_rm-e", "apo_rm-f", "base_rm-a", "rm-a"}


def test_a_state_holds_tensors_and_text_alone(tmp_path: Path) -> None:
    train("key")
    [folder] = (tmp_path / ".cache" / "checkpoints").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "state.safetensors"]


def test_a_process_that_does_not_write_keeps_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tensors_of(network(), [])
    monkeypatch.setattr(module.distributed, "is_main_process", lambda: False)
    assert tensors_of(network(), []) == {}
