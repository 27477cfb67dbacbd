"""Training on two processes: the losses, the weights and the saved state are those of one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.helpers import tiny_models as tiny
from tests.helpers.distributed_worker import NAME, run

ROOT = Path(__file__).parents[3]
STEPS = 6  # 11 items in batches of 4, twice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def config_of(name: str, folder: Path) -> str:
    """A configuration of configs/ for tiny models: small buffers, and no weight is too small to be parted."""
    config = json.loads((ROOT / "configs" / f"{name}.json").read_text())
    sizes = [key for key in config["zero_optimization"] if key.endswith("bucket_size")]
    config["zero_optimization"] |= dict.fromkeys(sizes, 20000)
    if config["zero_optimization"]["stage"] == 3:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return str(path)


CONFIGS = ("zero2", "zero2_offload", "zero3", "zero3_offload")
REWARD = {"what": "rm"}
LORA = REWARD | {"lora": True}


def cases(folder: Path) -> list[dict[str, Any]]:
    """All that two processes train, under one launch."""
    ddp = [
        REWARD | {"key": "rm"},
        REWARD | {"key": "rm-large", "environment": {"APO_TOKEN_BUDGET": "100000"}},
        REWARD | {"key": "rm-muon", "settings": {"optimizer": "muon"}},
        # Three items in steps of two: in the last step of a pass one process has nothing to do.
        REWARD | {"key": "rm-ones", "settings": {"batch_size": 1}},
        REWARD | {"key": "rm-resumed", "stop_after": 3},
        REWARD | {"key": "rm-resumed"},
        {"what": "lm", "key": "lm"},
        LORA | {"key": "lora"},
        LORA | {"key": "lora-resumed", "stop_after": 3},
        LORA | {"key": "lora-resumed"},
        {"what": "dpo", "key": "dpo"},
        {"what": "rrhf", "key": "rrhf"},
    ]
    zero = []
    for name in CONFIGS:
        environment = {"APO_DEEPSPEED": config_of(name, folder)}
        zero.append(REWARD | {"key": name, "environment": environment})
        zero.append(REWARD | {"key": f"{name}-resumed", "environment": environment, "stop_after": 3})
        zero.append(REWARD | {"key": f"{name}-resumed", "environment": environment})
    three = {"APO_DEEPSPEED": config_of("zero3", folder)}
    half = three | {"APO_PRECISION": "bf16"}
    zero += [
        REWARD | {"key": "ones-zero3", "environment": three, "settings": {"batch_size": 1}},
        REWARD | {"key": "frozen-zero3", "environment": three, "frozen": True},
        REWARD | {"key": "bf16-zero3", "environment": half},
        LORA | {"key": "lora-zero3", "environment": three},
        LORA | {"key": "lora-zero3-resumed", "environment": three, "stop_after": 3},
        LORA | {"key": "lora-zero3-resumed", "environment": three},
        LORA | {"key": "lora-zero3-then-ddp", "environment": three, "stop_after": 3},
        LORA | {"key": "lora-zero3-then-ddp"},
        {"what": "lm", "key": "lm-zero3", "environment": three},
        {"what": "dpo", "key": "dpo-zero3", "environment": three},
        REWARD | {"key": "ddp-then-zero3", "stop_after": 3},
        REWARD | {"key": "ddp-then-zero3", "environment": three},
        REWARD | {"key": "zero3-then-ddp", "environment": three, "stop_after": 3},
        REWARD | {"key": "zero3-then-ddp"},
    ]
    sharded = {"APO_FSDP": "1"}
    fsdp = [
        REWARD | {"key": "fsdp", "environment": sharded},
        REWARD | {"key": "fsdp-resumed", "environment": sharded, "stop_after": 3},
        REWARD | {"key": "fsdp-resumed", "environment": sharded},
        REWARD | {"key": "ones-fsdp", "environment": sharded, "settings": {"batch_size": 1}},
        LORA | {"key": "lora-fsdp", "environment": sharded},
        {"what": "lm", "key": "lm-fsdp", "environment": sharded},
        {"what": "dpo", "key": "dpo-fsdp", "environment": sharded},
        REWARD | {"key": "zero3-then-fsdp", "environment": three, "stop_after": 3},
        REWARD | {"key": "zero3-then-fsdp", "environment": sharded},
        REWARD | {"key": "fsdp-then-ddp", "environment": sharded, "stop_after": 3},
        REWARD | {"key": "fsdp-then-ddp"},
    ]
    return ddp + zero + fsdp


class State:
    """A saved state."""

    def __init__(self, root: Path, key: str) -> None:
        path = root / ".cache" / "checkpoints" / f"{NAME}-{key}" / "state.safetensors"
        with safe_open(path, framework="pt") as state:
            self.curve: list[dict[str, float]] = json.loads(state.metadata()["curve"])
            self.run_info = json.loads(state.metadata().get("run_info", "{}"))
            self.tensors: dict[str, Tensor] = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have trained all cases."""
    root = tmp_path_factory.mktemp("two")
    tiny.backbone(root / "backbone")
    (root / "cases.json").write_text(json.dumps(cases(root)))
    environment = os.environ | {
        "DVC_ROOT": str(root),
        "APO_CHECKPOINT_SECONDS": "0",
        "APO_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "APO_DEVICE": "cpu",
        "DS_ACCELERATOR": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [
            *command,
            *("-m", "tests.helpers.distributed_worker"),
            *(str(root / "cases.json"), str(root / "backbone")),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return root


@pytest.fixture
def one(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains a case on one process."""
    for name in ("APO_TOKEN_BUDGET", "APO_DEEPSPEED", "APO_FSDP", "APO_PRECISION"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_THREADS", "1")
    monkeypatch.setenv("APO_DEVICE", "cpu")

    def train(**case: Any) -> State:
        run(REWARD | {"key": "one"} | case, two / "backbone")
        return State(tmp_path, "one")

    return train


def assert_close(found: State, wanted: State, *, loss: float = 1e-6, weight: float = 1e-4) -> None:
    """The same number of steps, the same columns, losses and weights within float error.

    A weight whose gradient is rounding alone is moved by AdamW all the same, so weights differ by more.
    """
    assert len(found.curve) == len(wanted.curve)
    for ours, theirs in zip(found.curve, wanted.curve, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=10 * loss, abs=loss), (name, ours["step"])
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        if name.startswith("model/"):
            assert found.tensors[name].dtype == torch.float32
            assert (found.tensors[name] - tensor).abs().max() < weight, name


@pytest.mark.parametrize(
    "key",
    ["rm", "rm-large", "rm-resumed", "fsdp", "fsdp-resumed", *CONFIGS, *(f"{n}-resumed" for n in CONFIGS)],
)
def test_a_reward_model_is_that_of_one_process(key: str, two: Path, one: Any) -> None:
    assert_close(State(two, key), one())


def test_the_place_is_told(two: Path) -> None:
    assert State(two, "rm").run_info == {"engine": "ddp", "processes": 2}
    found = State(two, "zero3").run_info
    assert (found["engine"], found["processes"]) == ("deepspeed", 2)
    assert State(two, "fsdp").run_info == {"engine": "fsdp", "processes": 2}
    assert found["deepspeed"]["zero_optimization"]["stage"] == 3


@pytest.mark.parametrize("key", ["ddp-then-zero3", "zero3-then-ddp", "zero3-then-fsdp", "fsdp-then-ddp"])
def test_a_training_goes_on_with_another_engine(key: str, two: Path, one: Any) -> None:
    assert_close(State(two, key), one())


def test_a_killed_training_on_two_processes_is_the_one_that_was_not_killed(two: Path) -> None:
    for name in ("rm", "lora", "lora-zero3", "fsdp", *CONFIGS):
        whole, again = State(two, name), State(two, f"{name}-resumed")
        assert [row["loss"] for row in again.curve] == [row["loss"] for row in whole.curve], name
        for part, tensor in whole.tensors.items():
            assert torch.equal(tensor, again.tensors[part]), (name, part)


def test_muon_on_two_processes(two: Path, one: Any) -> None:
    """It makes matrices orthogonal in bf16, which turns a rounding into a thousandth of a step."""
    assert_close(State(two, "rm-muon"), one(settings={"optimizer": "muon"}), loss=2e-4, weight=2e-3)


@pytest.mark.parametrize("key", ["rm-ones", "ones-zero3", "ones-fsdp"])
def test_steps_with_fewer_items_than_processes(key: str, two: Path, one: Any) -> None:
    found, wanted = State(two, key), one(settings={"batch_size": 1})
    assert len(found.curve) == 22
    assert_close(found, wanted, loss=1e-5, weight=1e-3)


def test_frozen_weights_stay(two: Path, one: Any) -> None:
    """And no state holds them: they are in the checkpoint that the training started from."""
    found, trained = State(two, "frozen-zero3"), State(two, "zero3")
    assert trained.tensors.keys() - found.tensors.keys() == {
        *(
            f"optimizer/classifier.model.embed_tokens.weight/{part}"
            for part in ("exp_avg", "exp_avg_sq", "step")
        ),
        "model/classifier.model.embed_tokens.weight",
    }
    assert_close(found, one(frozen=True))


@pytest.mark.parametrize("key", ["lora", "lora-zero3", "lora-zero3-then-ddp", "lora-fsdp"])
def test_adapters_are_those_of_one_process(key: str, two: Path, one: Any) -> None:
    assert_close(State(two, key), one(lora=True))


def test_a_state_of_adapters_is_small(two: Path, one: Any) -> None:
    """A and B of rank 2 at two layers of two, the head, two moments of each; and nothing of the backbone."""
    trained = 2 * (2 * (32 + 32) + 2 * (64 + 32)) + 32
    whole = sum(value.nbytes for value in State(two, "zero3").tensors.values())
    for state in (one(lora=True), State(two, "lora"), State(two, "lora-zero3")):
        names = [name for name in state.tensors if name.startswith("model/")]
        assert all("lora_" in name or "modules_to_save" in name for name in names), names
        kept = sum(v.nbytes for name, v in state.tensors.items() if name != "rng" and "/step" not in name)
        assert kept == 3 * 4 * trained
        assert kept < whole / 10


@pytest.mark.parametrize("what", ["lm", "dpo", "rrhf"])
def test_language_models(what: str, two: Path, one: Any) -> None:
    wanted = one(what=what)
    assert_close(State(two, what), wanted)
    if what != "rrhf":
        for engine in ("zero3", "fsdp"):
            assert_close(State(two, f"{what}-{engine}"), wanted)


def test_bf16_is_near(two: Path, one: Any) -> None:
    found, wanted = State(two, "bf16-zero3"), one()
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(found.curve, wanted.curve, strict=True)]
    assert 0 < max(gaps) < 0.05
    assert all(tensor.dtype == torch.float32 for name, tensor in found.tensors.items() if "model/" in name)
