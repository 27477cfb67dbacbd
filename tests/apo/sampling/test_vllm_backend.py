"""vllm_backend.py: requests, seeds, what is read from an answer; vLLM's own classes where it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model import runtime
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import (
    Engine,
    check_vllm,
    requests,
    response_ids,
    seed_of,
)
from tests.helpers import tiny_models as tiny

EOS = 2
ASKED = [([1, 5, 6], "a"), ([1, 7], "b:1")]


@pytest.fixture(autouse=True)
def run_info(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of an engine stays in it."""
    monkeypatch.setattr(runtime, "RUN_INFO", {})


def settings(**changes: Any) -> Sampling:
    return tiny.sampling(**({"backend": "vllm", "num_samples": 3} | changes))


# Requests


def test_requests_has_one_per_sample_grouped_by_query() -> None:
    """So that the second finds the keys and values of the prompt that the first has read."""
    batch = requests(ASKED, settings(), seed=1, ends=[EOS])
    prompts = [prompt for prompt, _ in batch]
    assert prompts == [{"prompt_token_ids": [1, 5, 6]}] * 3 + [{"prompt_token_ids": [1, 7]}] * 3
    assert [arguments["n"] for _, arguments in batch] == [1] * 6


def test_requests_carry_the_settings() -> None:
    chosen = settings(temperature=0.3, top_k=5, top_p=0.85, repetition_penalty=1.05, max_new_tokens=17)
    [*_, (_, arguments)] = requests(ASKED, chosen, seed=1, ends=[EOS])
    assert arguments == {
        "n": 1,
        "temperature": 0.3,
        "top_k": 5,
        "top_p": 0.85,
        "repetition_penalty": 1.05,
        "max_tokens": 17,
        "stop_token_ids": [EOS],
        "ignore_eos": True,
        "detokenize": False,
        "seed": seed_of(1, "b:1", 2),
    }


def test_requests_stop_at_all_end_tokens() -> None:
    [(_, arguments), *_] = requests(ASKED, settings(), seed=1, ends=(EOS, 9))
    assert arguments["stop_token_ids"] == [EOS, 9]


def test_seed_of_depends_on_run_query_and_index() -> None:
    seeds = {seed_of(s, q, i) for s in (1, 2, 11) for q in ("a", "b", "1:a") for i in range(12)}
    assert len(seeds) == 3 * 3 * 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    # sha256("1:0:a") begins with 00 d8 e9 66 ea a2 48 e0, read as a little-endian number and halved.
    assert seed_of(1, "a", 0) == 0xE048A2EA66E9D800 >> 1


def test_seed_of_ignores_other_requests() -> None:
    alone = requests(ASKED[1:], settings(), seed=1, ends=[EOS])
    assert requests(ASKED, settings(), seed=1, ends=[EOS])[3:] == alone
    assert requests(ASKED[1:], settings(num_samples=2), seed=1, ends=[EOS]) == alone[:2]


def test_engine_arguments_name_the_checkpoint_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_TENSOR_PARALLEL", "4")
    chosen = settings(max_prompt_tokens=100, max_new_tokens=28)
    assert Engine(Path("models/actor"), chosen).arguments(precision="bf16", on_cpu=False) == {
        "model": "models/actor",
        "dtype": "bfloat16",
        "max_model_len": 128,
        "tensor_parallel_size": 4,
        "enable_prefix_caching": True,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",
    }
    on_cpu = Engine(Path("models/actor"), chosen).arguments(precision="float32", on_cpu=True)
    assert on_cpu["dtype"] == "float32" and on_cpu["enable_chunked_prefill"] is False


# Answers, in the form of vLLM's CompletionOutput


@dataclass
class Completion:
    """What is read of it."""

    token_ids: list[int]
    finish_reason: str


@dataclass
class Answer:
    """What is read of RequestOutput."""

    outputs: list[Completion] = field(default_factory=list)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([5, 6, EOS], "stop"),
        ([5, 6, 9], "stop"),
        ([EOS], "stop"),
        ([5, 6, 7, EOS], "stop"),  # ends with its last token: not cut
        ([5, 6, 7, 8], "length"),
    ],
)
def test_response_ids_by_hand(ids: list[int], reason: str) -> None:
    answer = Answer([Completion(ids, reason)])
    assert response_ids(answer, settings(max_new_tokens=4), ends=[EOS, 9]) == ids


@pytest.mark.parametrize(
    ("ids", "reason"), [([5, 6], "abort"), ([5, 6], "length"), ([5, 6], "stop"), ([], "stop"), ([5], "error")]
)
def test_response_ids_refuses_a_response_that_did_not_end(ids: list[int], reason: str) -> None:
    with pytest.raises(UserError, match=rf"found a response of {len(ids)} tokens that ended by '{reason}'"):
        response_ids(Answer([Completion(ids, reason)]), settings(max_new_tokens=4), ends=[EOS])


# The stage


@pytest.mark.parametrize("temperature", [0.001, 0.0099, 2.001, 100.0])
def test_check_vllm_refuses_a_temperature_that_vllm_would_change(temperature: float) -> None:
    with pytest.raises(UserError, match=rf"sample.PART.temperature: found {temperature:g}, and .*0.01 to 2"):
        check_vllm(settings(temperature=temperature))
    check_vllm(settings(temperature=temperature, backend="transformers"))


@pytest.mark.parametrize("temperature", [0.01, 1.0, 2.0])
def test_check_vllm_accepts_other_temperatures(temperature: float) -> None:
    check_vllm(settings(temperature=temperature))


# vLLM's own classes, where they can be imported


def test_vllm_sampling_params_take_a_request() -> None:
    """They refuse unknown names and values out of range."""
    module = pytest.importorskip("vllm.sampling_params", reason="vLLM can't be imported here")
    chosen = settings(temperature=1.2, top_k=50, top_p=0.9, repetition_penalty=1.05)
    for _, arguments in requests(ASKED, chosen, seed=1, ends=[EOS]):
        params = module.SamplingParams(**arguments)
        assert {name: getattr(params, name) for name in arguments} == arguments
    [(_, arguments), *_] = requests(ASKED, settings(top_k=0), seed=1, ends=[EOS])
    assert module.SamplingParams(**arguments).top_k == 0  # all tokens
    with pytest.raises(TypeError):
        module.SamplingParams(**arguments, samples=4)


def test_vllm_engine_args_take_the_arguments() -> None:
    module = pytest.importorskip("vllm.engine.arg_utils", reason="vLLM can't be imported here")
    arguments = Engine(Path("models/actor"), settings()).arguments(precision="bf16", on_cpu=True)
    engine_args = module.EngineArgs(**arguments)
    assert {name: getattr(engine_args, name) for name in arguments} == arguments


def test_response_ids_reads_outputs_of_vllm() -> None:
    module = pytest.importorskip("vllm.outputs", reason="vLLM can't be imported here")
    completion = module.CompletionOutput(0, "", [5, 6, EOS], None, None, finish_reason="stop")
    output = module.RequestOutput("0", None, [1, 5], None, [completion], True)
    assert response_ids(output, settings(), ends=[EOS]) == [5, 6, EOS]
