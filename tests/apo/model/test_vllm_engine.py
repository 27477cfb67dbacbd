"""vllm_engine.py: what starts vLLM, what is refused before, and its errors as one message."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model import runtime
from apo.model.vllm_engine import (
    ENVIRONMENT,
    VLLM,
    check_head_size,
    check_one_process,
    tensor_parallel,
    vllm_versions,
)


@pytest.fixture(autouse=True)
def run_info(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of an engine stays, in it or in the environment."""
    monkeypatch.setattr(runtime, "RUN_INFO", {"precision": "float32"})
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def engine(folder: Path = Path("m")) -> VLLM:
    options = {"runner": "pooling"}
    return VLLM(
        folder, parameter="x.backend", max_length=128, options=options, cpu_options={"block_size": 16}
    )


def test_arguments_on_a_cpu_leave_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APO_VLLM_MEMORY", raising=False)
    gpu, cpu = (engine().arguments(precision="float32", on_cpu=on_cpu) for on_cpu in (False, True))
    assert gpu["runner"] == "pooling" and gpu["max_model_len"] == 128
    assert cpu == gpu | {"enforce_eager": True, "gpu_memory_utilization": 0.4, "block_size": 16}


@pytest.mark.parametrize("on_cpu", [False, True])
def test_arguments_take_the_memory_of_the_environment(monkeypatch: pytest.MonkeyPatch, on_cpu: bool) -> None:
    monkeypatch.setenv("APO_VLLM_MEMORY", "0.25")
    assert engine().arguments(precision="bf16", on_cpu=on_cpu)["gpu_memory_utilization"] == 0.25


@pytest.mark.parametrize("value", ["0", "1.01", "-1", "8GB", "", "nan", "inf"])
def test_an_invalid_fraction_of_memory_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("APO_VLLM_MEMORY", value)
    with pytest.raises(UserError, match=f"APO_VLLM_MEMORY: found {value!r}; expected the part of the memory"):
        engine()


@pytest.mark.parametrize("config", [{"head_dim": 24}, {"hidden_size": 96, "num_attention_heads": 4}])
def test_check_head_size_refuses_sizes_without_a_cpu_kernel(tmp_path: Path, config: dict[str, int]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="found attention heads of size 24; expected one of 32, 64, which is"):
        check_head_size(tmp_path, [32, 64], parameter="x.backend")
    check_head_size(tmp_path, [24], parameter="x.backend")


@pytest.mark.parametrize("config", [{"head_dim": 64, "hidden_size": 96, "num_attention_heads": 4}, {}])
def test_check_head_size_accepts_other_sizes(tmp_path: Path, config: dict[str, int]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_head_size(tmp_path, [32, 64], parameter="x.backend")


@pytest.mark.parametrize("value", ["0", "two", "-1", "1.5", ""])
def test_tensor_parallel_refuses_an_invalid_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("APO_TENSOR_PARALLEL", value)
    with pytest.raises(UserError, match=f"APO_TENSOR_PARALLEL: found {value!r}; expected a number of GPUs"):
        tensor_parallel()


def test_tensor_parallel_is_one_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APO_TENSOR_PARALLEL", raising=False)
    assert tensor_parallel() == 1


@pytest.mark.parametrize(("name", "value"), [("APO_LAUNCH", "torchrun"), ("RANK", "0")])
def test_check_one_process_refuses_a_launcher(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    check_one_process("x.backend")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"APO_LAUNCH: found a launcher, and x.backend: vllm"):
        check_one_process("x.backend")


def test_vllm_versions_of_another_backend_are_none() -> None:
    assert vllm_versions("transformers") == {}


def test_run_turns_any_exception_into_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(vllm: Any, llm: Any) -> list[Any]:
        raise RuntimeError("EngineCore encountered\n  an issue. " + "x" * 1000)

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "there")
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setattr(VLLM, "_start", lambda self, vllm: None)
    with (
        pytest.raises(
            UserError, match=r"vLLM: found RuntimeError: EngineCore encountered an issue\. x+; expected"
        ) as error,
        engine() as vllm,
    ):
        vllm.run(broken)
    assert len(error.value.found) < 350 and "x.backend: transformers" in str(error.value)
