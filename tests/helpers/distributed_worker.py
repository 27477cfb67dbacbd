"""What each of several processes runs in test_engines.py: trainings of tiny models, one after the other.

A launcher starts it as it starts a stage. `python -m tests.helpers.distributed_worker CASES BACKBONE`
reads the cases from a file of JSON; each leaves its state, curve and weights, in the folder of checkpoints.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.settings import Align
from apo.alignment.train import align
from apo.core import distributed
from apo.language.causal_lm import train_language_model
from apo.model import runtime
from apo.reward.train import train_reward_model
from apo.training.checkpointing import Checkpoints, trained_state
from apo.training.lora import add_adapters
from apo.training.ranked_responses import RankedResponses
from apo.training.settings import Lora
from apo.training.sharding import LINEAR
from tests.helpers import tiny_models as tiny

NAME = "training"
RESPONSES = [2, 3, 4, 5, 2, 2, 3, 2, 2, 4, 2]  # of 11 items: 3 steps of 4, 4 and 3


class Stopped(Exception):
    """Stands for the end of the process."""


class Checked(Checkpoints):
    """Stops after a number of steps."""

    stop_after = 0

    def save(
        self, curve: list[dict[str, Any]], tensors: Callable[[], dict[str, Tensor]], **more: Any
    ) -> None:
        def slowly() -> dict[str, Tensor]:
            found = tensors()
            if len(curve) == self.stop_after and distributed.is_main_process():
                time.sleep(0.5)  # a slow disk: the other process begins its next case after the writing
            return found

        super().save(curve, slowly, **more)
        if len(curve) == self.stop_after:
            raise Stopped


def train(case: dict[str, Any], backbone: Path) -> nn.Module:
    """Trains the model of a case, or resumes; in every process."""
    checkpoints = Checked(NAME, case["key"])
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    checkpoints.stop_after = case.get("stop_after", 0)
    changes = {"lr": 5e-3, "epochs": 2, "batch_size": 4, "schedule": "linear", "weight_decay": 0.1}
    changes |= case.get("settings", {})
    items = tiny.random_items(3, RESPONSES)
    model: Any
    if case["what"] == "rm":
        model = tiny.reward_model(backbone, pooling="last")
        if case.get("frozen"):
            model.classifier.model.embed_tokens.requires_grad_(False)
        if case.get("lora"):
            lora = Lora(rank=2, alpha=8.0, targets=["q_proj", "down_proj"])
            add_adapters(model.classifier, lora, seed=1, where="rm.lora")
        data = [
            RankedResponses(
                item, [float(-i) for i in range(len(item.responses))], is_adversarial=len(item.responses) == 5
            )
            for item in items
        ]

        @torch.no_grad()
        def eval_fn(step: int) -> dict[str, float]:
            return {"reward": float(model.rewards(items[:2]).sum())}

        train_reward_model(
            model,
            data,
            tiny.optimizer(**changes),
            coeff=1.0,
            num_samples=4,
            seed=1,
            desc=NAME,
            checkpoints=checkpoints,
            eval_fn=eval_fn,
            eval_steps=4,
        )
    elif case["what"] == "lm":
        model = tiny.language_model()
        train_language_model(
            model,
            [tiny.ResponseSet(item.prefix, item.responses[:1]) for item in items],
            tiny.optimizer(**changes),
            pad_id=3,
            seed=1,
            device=tiny.CPU,
            desc=NAME,
            checkpoints=checkpoints,
        )
    else:
        own = {"method": case["what"], "beta": 0.5, "rank_weight": 1.0, "sft_weight": 1.0, "max_length": 64}
        own["lora"] = tiny.NO_LORA
        model = ResponseLikelihood(tiny.language_model(), pad_id=3, max_length=64)
        data_ = [RankedResponses(item, [float(-i) for i in range(len(item.responses))]) for item in items]
        settings = tiny.optimizer(Align, **(changes | own))
        align(model, data_, settings, seed=1, desc=NAME, checkpoints=checkpoints)
    return model


def run(case: dict[str, Any], backbone: Path) -> None:
    """One case, in this process and its peers."""
    engines = {"APO_DEEPSPEED": "", "APO_FSDP": ""}
    os.environ.update(engines | {"APO_TOKEN_BUDGET": "50", "APO_PRECISION": "float32"})
    os.environ.update(case.get("environment", {}))
    runtime.set_up()
    with contextlib.suppress(Stopped):
        check_is_plain(train(case, backbone), case["key"])


def check_is_plain(model: nn.Module, key: str) -> None:
    """Checks that the trained model has the weights of the saved state, and nothing of an engine."""
    with Checkpoints(NAME, key).opened() as state:
        for name, tensor in trained_state(model).items():
            assert torch.equal(tensor.cpu(), state.get_tensor(f"model/{name}")), name
    if os.environ["APO_DEEPSPEED"]:  # a case that was stopped leaves what DeepSpeed put there
        assert nn.functional.linear is LINEAR
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks, module
        assert type(module._parameters) is dict and not hasattr(module, "ds_id"), module
        assert not isinstance(module, FSDPModule), module
    for parameter in model.parameters():
        assert type(parameter) is nn.Parameter and not hasattr(parameter, "ds_id")
        assert parameter.dtype == torch.float32 and parameter.numel()
    assert not model.training


if __name__ == "__main__":
    distributed.start()
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print(case["key"], flush=True)
        run(case, Path(sys.argv[2]))
    distributed.end()
