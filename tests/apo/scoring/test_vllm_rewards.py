"""vllm_rewards.py: what vLLM is asked, how its answers are read; vLLM itself where it is installed."""

import importlib.machinery
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import stages.score
from apo.chunks.resumable import open_chunks
from apo.core.errors import UserError
from apo.core.records import read_rows, write_json, write_rows
from apo.model import runtime
from apo.model.checkpoint import load_reward_model, save_reward_model
from apo.model.vllm_engine import ENVIRONMENT
from apo.scoring.rewards import rewards_of, score_samples
from apo.scoring.vllm_rewards import VLLMRewardModel, reward_in
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT, change_params

HAS_VLLM = importlib.util.find_spec("vllm") is not None
ROWS = [
    {"query_id": "a", "query": tiny.query("What is 1 plus 2?"), "samples": ["3", "It is 3.", ""]},
    {"query_id": "b", "query": tiny.query("Who?"), "samples": ["me"]},
    {"query_id": "c", "query": tiny.query("Why? " * 30), "samples": ["So.", "Because of it, and of that."]},
]


@pytest.fixture
def reward_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reward model on disk, with attention heads of a size that vLLM's CPU build has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    monkeypatch.setattr(runtime, "RUN_INFO", {})
    for name, value in ENVIRONMENT.items():  # an engine sets them; nothing of it stays
        monkeypatch.setenv(name, value)
    runtime.set_up()
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    tiny.backbone(tmp_path / "backbone", max_position_embeddings=256, **sizes)
    save_reward_model(tiny.reward_model(tmp_path / "backbone"), tmp_path / "rm", tiny.CARD)
    return tmp_path / "rm"


def expected(folder: Path) -> list[list[float]]:
    """The rewards of the transformers backend."""
    model = load_reward_model(folder).eval()
    texts = [(row["query"], row["samples"]) for row in ROWS]
    return list(rewards_of(model, model.encoder.items(texts, Counter(), where="", allow_blank=True), desc=""))


class FakeVLLM(ModuleType):
    """The part of vLLM that is used; a reward is the sum of the ids."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
        self.started: list[dict[str, Any]] = []
        self.parameters: list[Any] = []
        self.PoolingParams = lambda **arguments: SimpleNamespace(**arguments)
        self.LLM = self.start

    def start(self, **arguments: Any) -> Any:
        self.started.append(arguments)
        core = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: None))
        return SimpleNamespace(classify=self.classify, llm_engine=core)

    def classify(self, prompts: Any, pooling_params: Any, use_tqdm: bool) -> list[Any]:
        self.parameters.append(pooling_params)
        sums = [sum(prompt["prompt_token_ids"]) for prompt in prompts]
        return [SimpleNamespace(outputs=SimpleNamespace(probs=[float(value)])) for value in sums]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeVLLM:
    """vLLM in a build for GPUs."""
    module, platforms = FakeVLLM(), ModuleType("vllm.platforms")
    platforms.current_platform = SimpleNamespace(is_cpu=lambda: False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    return module


def score(folder: Path, key: str = "key") -> list[list[float]]:
    write_rows(Path("samples.jsonl"), ROWS)
    counts: Counter[str] = Counter()
    with open_chunks("score", key) as chunks:
        rows = score_samples(
            VLLMRewardModel(folder),
            Path("samples.jsonl"),
            extra_answers=True,
            desc="x",
            counts=counts,
            chunks=chunks,
        )
        return [row["scores"] for row in rows]


def test_each_sequence_is_a_request_without_activation(reward_model: Path, fake: FakeVLLM) -> None:
    model = load_reward_model(reward_model)
    texts = [(row["query"], row["samples"]) for row in ROWS]
    items = list(model.encoder.items(texts, Counter(), where="", allow_blank=True))
    sums = [[float(sum(item.sequence(i))) for i in range(len(item.responses))] for item in items]
    assert score(reward_model) == sums
    [started] = fake.started
    assert started["runner"] == "pooling" and started["dtype"] == "float32"
    assert started["max_model_len"] == model.encoder.max_length
    assert [vars(parameters) for parameters in fake.parameters] == [{"use_activation": False}]


def test_what_was_scored_before_needs_no_engine(reward_model: Path, fake: FakeVLLM) -> None:
    first = score(reward_model)
    assert score(reward_model) == first and len(fake.started) == 1


def test_the_stage_takes_the_backend_of_its_section(reward_model: Path, fake: FakeVLLM) -> None:
    params = Path("params.yaml")
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    change_params(params, {"score": {"backend": "vllm"}})
    write_rows(Path("samples.jsonl"), ROWS)
    record = {"pairs": 9, "ece_5": 0.0, "ece_10": 0.0}
    write_json(Path("evaluation.json"), {"base_rm": {"calibration": record}})
    names = ("rm", "evaluation.json", "samples.jsonl", "scores.jsonl", "metrics.json")
    stages.score.main("base_r1", *map(Path, names))
    assert [row["scores"] for row in read_rows(Path("scores.jsonl"))] == score(reward_model, "other")


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_another_pooling_is_refused(reward_model: Path, pooling: str, tmp_path: Path) -> None:
    other = tiny.reward_model(tmp_path / "backbone", pooling=pooling)
    save_reward_model(other, tmp_path / "other", tiny.CARD)
    with pytest.raises(UserError, match=rf"score.backend: found vllm, for .* with pooling {pooling}"):
        VLLMRewardModel(tmp_path / "other")


def test_a_launcher_is_refused(reward_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_LAUNCH", "torchrun")
    with pytest.raises(UserError, match=r"APO_LAUNCH: found a launcher, and score.backend: vllm"):
        VLLMRewardModel(reward_model)


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_a_missing_engine_is_one_message(reward_model: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml: score.backend: found 'vllm', which is not installed"):
        score(reward_model)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [float("nan")], [float("inf")]])
def test_anything_but_one_finite_reward_is_an_error(values: list[float]) -> None:
    with pytest.raises(UserError, match="expected one finite reward"):
        reward_in(SimpleNamespace(outputs=SimpleNamespace(probs=values)))


@pytest.mark.skipif(not HAS_VLLM, reason="no vLLM: make vllm")
@pytest.mark.filterwarnings("ignore")  # those of vLLM
@pytest.mark.timeout(900)
def test_rewards_of_vllm_are_those_of_transformers(reward_model: Path) -> None:
    for ours, theirs in zip(expected(reward_model), score(reward_model), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-4)
