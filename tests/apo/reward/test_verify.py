"""apo/reward/verify.py: a saved reward model is loaded again and compared."""

import json
from pathlib import Path

import pytest
import torch

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.model.checkpoint import load_reward_model, save_reward_model, start_reward_model
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.reward.recipe import verify
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import checkpoint
from tests.helpers.reward_repo import COMPARISONS

pytestmark = pytest.mark.usefixtures("repository")


@pytest.fixture
def model() -> RewardModel:
    return tiny.reward_model(Path("backbone"))


def test_verify_accepts_the_saved_model(model: RewardModel) -> None:
    save_reward_model(model, Path("rm"), tiny.CARD)
    metrics = verify(model, Path("rm"), Path("train.jsonl"), dtype="float32")
    assert metrics == {"rows_compared": 4, "chat_template_equal": 4}


def test_verify_passes_over_rows_that_the_template_drops(tmp_path: Path) -> None:
    start = checkpoint("gemma", tmp_path / "start")
    reader = json.loads((start / "tokenizer_config.json").read_text(encoding="utf-8"))
    (start / "tokenizer_config.json").write_text(json.dumps({**reader, "refused_dialogues": "drop"}), "utf-8")
    model = start_reward_model(start, Model(**(tiny.READING | {"max_length": 256})), seed=1)
    save_reward_model(model, tmp_path / "rm", tiny.CARD)
    refused = {"query": "\n\nSystem: Be brief.\n\nHuman: Hi\n\nAssistant:", "responses": ["a", "b"]}
    taken = {"query": "\n\nHuman: Hi\n\nAssistant:", "responses": ["a", "b"]}
    for rows, compared in (([refused] * 40 + [taken] * 2, 2), ([refused], 0)):
        write_rows(tmp_path / "rows.jsonl", rows)
        metrics = verify(model, tmp_path / "rm", tmp_path / "rows.jsonl", dtype="float32")
        assert metrics["rows_compared"] == compared


def test_verify_refuses_a_model_that_differs(model: RewardModel) -> None:
    other = tiny.reward_model(Path("backbone"))
    with torch.no_grad():
        other.classifier.score.weight += 0.01
    save_reward_model(other, Path("rm"), tiny.CARD)
    with pytest.raises(UserError, match=r"rewards that differ by .* after saving as float32 and load"):
        verify(model, Path("rm"), Path("train.jsonl"), dtype="float32")
    assert list(read_rows(Path("train.jsonl"))) == COMPARISONS
    assert load_reward_model(Path("rm")).encoder.pooling == "last"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_verify_refuses_rewards_that_are_not_finite(model: RewardModel, dtype: str) -> None:
    """They would equal themselves: every comparison with NaN is false."""
    with torch.no_grad():
        model.classifier.score.weight[0, 0] = float("nan")
    save_reward_model(model, Path("rm"), tiny.CARD, dtype=dtype)
    with pytest.raises(UserError, match=r"rm: found rewards that are not finite; .*weights that it started"):
        verify(model, Path("rm"), Path("train.jsonl"), dtype=dtype)
