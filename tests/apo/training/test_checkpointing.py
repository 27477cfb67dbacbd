"""apo/training/checkpointing.py: a killed training goes on to the same bytes; another starts anew."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apo.core import cache
from apo.core.cache import fingerprint
from apo.core.errors import UserError
from apo.language.causal_lm import encode_documents, train_language_model
from apo.reward.train import RankedResponses, train_reward_model
from apo.training import checkpointing as module
from apo.training.checkpointing import Checkpoints, tensors_of
from apo.training.trainer import training_loop
from tests.helpers import tiny_models as tiny
from tests.helpers.ranks import run_ranks

STEPS = 6


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")


class Killed(Exception):
    """Stands for the end of the process."""


def network() -> nn.Module:
    """With dropout, so that the state of the random generator counts, and a buffer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))


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

    with Checkpoints("test", key).exclusive() as checkpoints:
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
        if checkpoints.due(last=False):
            checkpoints.save([], lambda: tensors_of(model, []), where={})
    assert saves[0] == 30.0
    assert all(150.0 <= later - earlier - 3.0 <= 151.0 for earlier, later in itertools.pairwise(saves))
    assert len(saves) == 7


def test_no_process_goes_on_before_the_state_is_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def save() -> list[dict[str, Any]]:
        checkpoints = Checkpoints("test", "key")
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        checkpoints.save([{"step": 1}], dict, where={})
        return checkpoints.curve()

    assert run_ranks(monkeypatch, 3, save) == [[{"step": 1}]] * 3


def test_a_state_that_was_half_written_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("killed", kill_before=3)
    [folder] = (tmp_path / ".cache" / "checkpoints").iterdir()
    (folder / "state.tmp").write_bytes(b"half")
    assert train("killed")[2] == [3, 4, 5]


def ranked() -> list[RankedResponses]:
    items = tiny.random_items(3, [2, 3, 2, 4] * 4)
    return [RankedResponses(item, [float(i) for i in range(len(item.responses))]) for item in items]


def test_a_killed_reward_model_ends_in_the_same_bits(tmp_path: Path) -> None:
    settings = tiny.optimizer(batch_size=4, epochs=2)

    def run(key: str, kill_before: int | None = None) -> tuple[dict[str, Tensor], Any]:
        model = tiny.reward_model(tmp_path / "backbone")

        def eval_fn(step: int) -> dict[str, float]:
            if step == kill_before:
                raise Killed
            return {"seen": float(step)}

        with Checkpoints("base_rm", key).exclusive() as checkpoints:
            curve = train_reward_model(
                model,
                ranked(),
                settings,
                seed=1,
                desc="base_rm",
                checkpoints=checkpoints,
                eval_fn=eval_fn,
                eval_steps=1,
            )
        return model.state_dict(), curve

    weights, curve = run("whole")
    with pytest.raises(Killed):
        run("killed", kill_before=4)
    again, again_curve = run("killed")
    assert again_curve == curve and len(curve) == 8
    assert_same(again, weights)


def test_a_killed_language_model_ends_in_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tied embeddings: one tensor under two names."""
    from collections import Counter

    tokenizer = tiny.shared_tokenizer()
    items = list(encode_documents(tokenizer, tiny.SUMS[:24], max_length=64, counts=Counter()))

    def run(key: str) -> tuple[dict[str, Tensor], Any]:
        model = tiny.language_model()
        with Checkpoints("backbone", key).exclusive() as checkpoints:
            curve = train_language_model(
                model,
                items,
                tiny.optimizer(batch_size=4),
                pad_id=3,
                seed=1,
                device=tiny.CPU,
                desc="backbone",
                checkpoints=checkpoints,
            )
        assert model.lm_head.weight is model.model.embed_tokens.weight
        return model.state_dict(), curve

    weights, curve = run("whole")
    saved = Checkpoints.save

    def save_and_die(self: Checkpoints, curve: list[Any], *args: Any, **more: Any) -> None:
        saved(self, curve, *args, **more)
        if len(curve) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            run("killed")
    again, again_curve = run("killed")
    assert again_curve == curve and len(curve) == 6
    assert_same(again, weights)


# Which training it is


def test_another_key_starts_anew() -> None:
    with pytest.raises(Killed):
        train("one", kill_before=3)
    assert train("other")[2] == list(range(STEPS))


def test_a_fingerprint_is_that_of_settings_content_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.jsonl"
    folder = tmp_path / "model" / "deep"
    folder.mkdir(parents=True)
    data.write_text("a")
    (folder / "weights").write_text("w")
    code = tmp_path / "code"
    code.mkdir()
    (code / "losses.py").write_text("loss = 1")
    monkeypatch.setattr(cache, "CODE", code)
    monkeypatch.setattr(cache, "loaded_code", lambda: [code / "losses.py"])

    def found(settings: Any = None, seed: int = 1) -> str:
        return fingerprint([settings or tiny.optimizer(), seed], [data, tmp_path / "model"])

    first = found()
    assert first == found()
    seen = {first, found(tiny.optimizer(lr=0.5)), found(seed=2)}
    data.write_text("b")
    seen.add(found())
    data.write_text("a")
    assert found() == first
    (folder / "weights").write_text("v")
    seen.add(found())
    (folder / "weights").rename(folder / "other_name")
    seen.add(found())
    (code / "losses.py").write_text("loss = -1")
    seen.add(found())
    assert len(seen) == 7


def test_the_code_is_what_is_imported_of_this_package() -> None:
    """And not the rest: a change to another stage's code leaves a killed training its state."""
    eval_fn = "import stages.train_base_rm; from apo.core.cache import loaded_code; print(*loaded_code())"
    done = subprocess.run(
        [sys.executable, "-c", eval_fn], cwd=cache.CODE.parent, capture_output=True, text=True, check=True
    )
    found = {Path(name).relative_to(cache.CODE).as_posix() for name in done.stdout.split()}
    assert {"losses.py", "training/trainer.py", "core/cache.py"} < found
    assert not {"sampling/generation.py", "demo/world.py", "evaluation/compare_llms.py"} & found


def test_a_fingerprint_does_not_depend_on_where_the_files_are(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("w")
    assert fingerprint([1], [tmp_path / "here"]) == fingerprint([1], [tmp_path / "there"])


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
            checkpoints.exclusive(),
        ):
            raise AssertionError("not reached")
        with Checkpoints("test", "another_key").exclusive():
            pass  # another training may run
        other.communicate()
    with checkpoints.exclusive() as locked:  # the lock ends with the process
        assert locked is checkpoints


def test_the_lock_ends_with_an_error() -> None:
    for _ in range(2):
        with pytest.raises(Killed), Checkpoints("test", "key").exclusive():
            raise Killed


def test_old_states_go_and_those_of_other_stages_stay(tmp_path: Path) -> None:
    import os

    root = tmp_path / ".cache" / "checkpoints"
    names = [f"apo_rm-{key}" for key in "abcdef"] + ["base_rm-a", "rm-a"]
    for age, name in enumerate(names):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (age, age))
    Checkpoints("apo_rm", "a").remove_older()  # its own state stays, though it is the oldest
    left = {path.name for path in root.iterdir()}
    assert left == {"apo_rm-a", "apo_rm-c", "apo_rm-d", "apo_rm-e", "apo_rm-f", "base_rm-a", "rm-a"}


def test_a_state_holds_tensors_and_text_alone(tmp_path: Path) -> None:
    train("key")
    [folder] = (tmp_path / ".cache" / "checkpoints").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "state.safetensors"]
