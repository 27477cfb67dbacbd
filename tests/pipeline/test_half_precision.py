"""Nothing is computed in half precision on a CPU: most have no instructions for it, and are slow."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.settings import Align
from apo.alignment.train import align
from apo.evaluation.kl import with_kl
from apo.language.causal_lm import encode_answers, encode_documents, train_language_model
from apo.model.encoding import Encoder
from apo.reward.train import train_reward_model
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import encode_prompts
from apo.scoring.rewards import rewards_of
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters, merge_adapters
from apo.training.ranked_responses import RankedResponses
from apo.training.settings import Lora
from tests.helpers import tiny_models as tiny

HALVES = (torch.bfloat16, torch.float16)
ITEMS = tiny.random_items(3, [2, 3, 4, 2])
COMPARISONS = [RankedResponses(item, [float(-i) for i in range(len(item.responses))]) for item in ITEMS]
GOLDEN = [
    RankedResponses(item, [1.0, *[0.0] * (len(item.responses) - 1)], is_adversarial=True) for item in ITEMS
]
QUERY = tiny.query("What is 1 plus 2?")
READER = Encoder(tiny.shared_tokenizer(), 64, "last", "", "left", ends=(2,))


class NoHalves(TorchDispatchMode):
    """Fails at any operation that reads or writes a tensor in half precision; counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation, between two looks at its tensors."""
        self._look(func, (args, kwargs))
        result = func(*args, **(kwargs or {}))
        self._look(func, result)
        self.operations += 1
        return result

    @staticmethod
    def _look(func: Any, values: Any) -> None:
        for leaf in tree_leaves(values):
            dtype = getattr(leaf, "dtype", leaf)  # `to` has a dtype among its arguments
            assert not (isinstance(dtype, torch.dtype) and dtype in HALVES), f"{func} in {dtype}"


@pytest.fixture(autouse=True)
def _alone_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("APO_PRECISION", raising=False)


@contextlib.contextmanager
def checkpoints() -> Iterator[Checkpoints]:
    with Checkpoints("training", "key").lock() as states:
        yield states


def language_training(folder: Path, *, answers: bool = False, optimizer: str = "adamw") -> int:
    """Pretraining of the backbone or, on answers, fine-tuning of the actor; the steps taken."""
    tokenizer, counts = tiny.shared_tokenizer(), Counter[str]()
    if answers:
        rows = [(QUERY, "Three."), (QUERY, "I do not know.")]
        items = list(encode_answers(READER, rows, counts=counts, where="rows"))
    else:
        items = list(encode_documents(tokenizer, tiny.TEXTS[:8], max_length=64, counts=counts))
    with checkpoints() as states:
        curve = train_language_model(
            tiny.language_model(),
            items,
            tiny.optimizer(optimizer=optimizer, weight_decay=0.1),
            pad_id=tokenizer.pad_token_id,
            seed=1,
            device=tiny.CPU,
            desc="lm",
            checkpoints=states,
        )
    return len(curve)


def reward_training(folder: Path, *, golden: bool = False, rank: int = 0, loss: str = "ranking") -> int:
    """Of the base and the testing RM on comparisons alone, of the APO RM on golden > samples beside them."""
    model = tiny.reward_model(folder / "backbone")
    lora = Lora(rank=rank, alpha=4.0, targets=[])
    tuner = add_adapters(model.classifier, lora, seed=1, where="rm.lora")
    with checkpoints() as states:
        curve = train_reward_model(
            model,
            COMPARISONS + GOLDEN if golden else COMPARISONS,
            tiny.optimizer(weight_decay=0.1),
            coeff=0.1,
            num_samples=4,
            loss=loss,
            seed=1,
            desc="rm",
            checkpoints=states,
            eval_fn=lambda step: {"rewards": float(len(list(rewards_of(model, ITEMS, desc=""))))},
            eval_steps=1,
        )
    merge_adapters(tuner)
    return len(curve)


def aligning(folder: Path, *, method: str) -> int:
    """Of the LLM on scored samples."""
    values = {"method": method, "beta": 0.2, "rank_weight": 2.0, "sft_weight": 0.5, "max_length": 64}
    settings = tiny.optimizer(Align, **values, lora=tiny.NO_LORA)
    model = ResponseLikelihood(tiny.language_model(), pad_id=3, max_length=64)
    data = [RankedResponses(one.item, one.labels) for one in COMPARISONS]
    with checkpoints() as states:
        return len(align(model, data, settings, seed=1, desc="llm", checkpoints=states))


def sampling(folder: Path, **settings: Any) -> int:
    """The responses."""
    rows = [{"query_id": "a", "query": QUERY}, {"query_id": "b", "query": tiny.query("Where?")}]
    prompts = encode_prompts(READER, rows, Counter(), where="rows")
    chosen = tiny.sampling(**settings)
    responses = sample_responses(tiny.language_model(), prompts, chosen, seed=1, ends=[2], desc="sample")
    return sum(map(len, responses))


def scoring(folder: Path, **changes: Any) -> int:
    """The items with rewards."""
    return len(list(rewards_of(tiny.reward_model(folder / "backbone", **changes), ITEMS, desc="")))


def divergence(folder: Path) -> int:
    """The rows with a KL."""
    models = tiny.language_model(seed=1), tiny.language_model(seed=2)
    rows = [{"query_id": "a", "query": QUERY, "samples": ["Three.", ""]}]
    return len(with_kl(*models, READER, rows, desc=""))


WORK: dict[str, Callable[[Path], int]] = {
    "backbone by muon": partial(language_training, optimizer="muon"),
    "backbone by adamw": language_training,
    "actor": partial(language_training, answers=True),
    "base RM and testing RM": reward_training,
    "APO RM": partial(reward_training, golden=True),
    "APO RM by wgan": partial(reward_training, golden=True, loss="wgan"),
    "RM with LoRA": partial(reward_training, golden=True, rank=2),
    "align by rjs": partial(aligning, method="rjs"),
    "align by rrhf": partial(aligning, method="rrhf"),
    "align by dpo": partial(aligning, method="dpo"),
    "sampling of many": partial(sampling, temperature=1.2),
    "sampling of one": partial(sampling, num_samples=1, top_k=5, top_p=0.85, repetition_penalty=1.05),
    "scoring": scoring,
    "scoring by the mean": partial(scoring, pooling="average"),
    "KL": divergence,
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_is_in_half_precision_on_a_cpu(name: str, tmp_path: Path) -> None:
    with NoHalves() as mode:
        assert WORK[name](tmp_path) > 0
    assert mode.operations > 100  # the work was seen


def test_the_muon_of_torch_is_caught() -> None:
    weight = nn.Parameter(torch.eye(8))
    weight.grad = torch.ones(8, 8)
    with pytest.raises(AssertionError, match="bfloat16"), NoHalves():
        torch.optim.Muon([weight], lr=0.1).step()


def test_a_half_inside_of_a_backward_pass_is_caught() -> None:
    """As autocast puts it there: the loss itself is in float32."""
    x = torch.ones(3, requires_grad=True)
    x.register_hook(lambda gradient: gradient.half().float())
    loss = x.sum()
    with pytest.raises(AssertionError, match="float16"), NoHalves():
        loss.backward()


def test_autocast_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`APO_PRECISION=bf16` is what somebody can ask for on a CPU, too: then it is no default."""
    monkeypatch.setenv("APO_PRECISION", "bf16")
    with pytest.raises(AssertionError, match="bfloat16"), NoHalves():
        scoring(tmp_path)
