"""apo/training/deepspeed_config.py: what a configuration of DeepSpeed may say, and what is made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.training.deepspeed_config import deepspeed_config
from tests.helpers import tiny_models as tiny

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.json"))
SETTINGS = tiny.optimizer(batch_size=16, max_grad_norm=0.5)


@pytest.fixture(autouse=True)
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("APO_PRECISION", raising=False)


def complete(monkeypatch: pytest.MonkeyPatch, content: Any, settings: Any = SETTINGS) -> dict[str, Any]:
    Path("ds.json").write_text(content if isinstance(content, str) else json.dumps(content))
    monkeypatch.setenv("APO_DEEPSPEED", "ds.json")
    config = deepspeed_config(settings, tiny.CPU)
    assert config is not None
    return config


def test_deepspeed_config_is_none_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_DEEPSPEED", "")
    assert deepspeed_config(SETTINGS, tiny.CPU) is None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_deepspeed_config_completes_the_committed_files(
    path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_PRECISION", precision)
    config = complete(monkeypatch, path.read_text())
    assert config["gradient_clipping"] == 0.5
    assert config["bf16"] == {"enabled": precision == "bf16"}
    assert config["managed_gradient_accumulation"] is False
    assert config["zero_optimization"]["overlap_comm"] is False  # on a CPU
    assert config["zero_optimization"]["stage"] == int(path.stem[4])
    assert ("offload_optimizer" in config["zero_optimization"]) == path.stem.endswith("offload")
    assert not {"optimizer", "train_batch_size"} & config.keys()


def test_deepspeed_configs_are_four(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [path.stem for path in CONFIGS] == ["zero2", "zero2_offload", "zero3", "zero3_offload"]


def test_deepspeed_config_accepts_auto_and_equal_values(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "train_batch_size": 16,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": 0.5,
        "optimizer": "auto",
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "zero_optimization": {"stage": 3, "reduce_bucket_size": 7},
        "wall_clock_breakdown": True,
    }
    config = complete(monkeypatch, given)
    assert config["zero_optimization"] == {"stage": 3, "reduce_bucket_size": 7, "overlap_comm": False}
    assert config["wall_clock_breakdown"] is True
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]) == (1, 1)


STAGE = {"zero_optimization": {"stage": 3}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            STAGE | {"train_batch_size": 32},
            r"ds.json: train_batch_size: found 32; expected 16, the batch_size",
        ),
        (
            STAGE | {"train_micro_batch_size_per_gpu": 4},
            r"ds.json: train_micro_batch_size_per_gpu: found 4; expected no such key: APO_T",
        ),
        (
            STAGE | {"gradient_accumulation_steps": 2},
            r"gradient_accumulation_steps: found 2; expected no such",
        ),
        (
            STAGE | {"gradient_clipping": 1.0},
            r"gradient_clipping: found 1.0; expected 0.5, the max_grad_norm",
        ),
        (
            STAGE | {"optimizer": {"type": "Adam"}},
            r"ds.json: optimizer: .*the optimizer is in params.yaml",
        ),
        (
            STAGE | {"scheduler": {"type": "WarmupLR"}},
            r"ds.json: scheduler: .*schedule is in params.yaml",
        ),
        (STAGE | {"fp16": {"enabled": True}}, r"ds.json: fp16.enabled: found True; expected bf16"),
        (STAGE | {"bf16": {"enabled": True}}, r"ds.json: bf16.enabled: found True; expected False or auto"),
        (STAGE | {"bf16": True}, r"ds.json: bf16: found True; expected an object"),
        ({}, r"ds.json: zero_optimization.stage: found None; expected 2 or 3"),
        ({"zero_optimization": {"stage": 0}}, r"zero_optimization.stage: found 0; expected 2 or 3"),
        (
            {"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}},
            r"ds.json: zero_optimization.offload_param.device: found 'nvme'; expected cpu or none",
        ),
        ("[1]", r"APO_DEEPSPEED: found 'ds.json' \(no JSON object\); expected a DeepSpeed configuration"),
        ("{", r"APO_DEEPSPEED: found 'ds.json' \(Expecting property name"),
    ],
)
def test_deepspeed_config_refuses_a_contradiction(
    content: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=message):
        complete(monkeypatch, content)


def test_deepspeed_config_refuses_what_can_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"ds.json: found the optimizer muon, .*; expected adamw"):
        complete(monkeypatch, STAGE, tiny.optimizer(optimizer="muon"))
    monkeypatch.setenv("APO_DEEPSPEED", "none.json")
    with pytest.raises(UserError, match=r"APO_DEEPSPEED: found 'none.json' \(No such file or directory\)"):
        deepspeed_config(SETTINGS, tiny.CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"APO_DEEPSPEED: found no package deepspeed; expected it installed"):
        complete(monkeypatch, STAGE)
    monkeypatch.delenv("RANK")
    with pytest.raises(UserError, match=r"APO_DEEPSPEED: found no APO_LAUNCH; .*set APO_LAUNCH='torchrun"):
        complete(monkeypatch, STAGE)
