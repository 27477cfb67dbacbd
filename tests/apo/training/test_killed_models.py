"""apo/training/checkpointing.py: a reward model and a language model are killed and end in the same bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.language.causal_lm import encode_documents, train_language_model
from apo.reward.train import train_reward_model
from apo.training.checkpointing import Checkpoints
from apo.training.ranked_responses import RankedResponses
from tests.helpers import tiny_models as tiny

pytestmark = pytest.mark.usefixtures("checkpoint_root")


class Killed(Exception):
    """Stands for the end of the process."""


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


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

        with Checkpoints("base_rm", key).lock() as checkpoints:
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
        with Checkpoints("backbone", key).lock() as checkpoints:
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
