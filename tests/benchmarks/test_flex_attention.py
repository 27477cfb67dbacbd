"""Rewards by FlexAttention are those of the SDPA path; on a CPU it has a forward pass alone."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from apo.model.batching import collate
from benchmarks.flex_attention import FlexRewardModel, block_mask
from tests.helpers import tiny_models as tiny

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
RESPONSES = [1, 2, 5, 3]


def test_block_mask_is_the_mask_of_the_batch() -> None:
    batch = collate(tiny.random_items(3, RESPONSES), pad_id=0)
    length = batch.segments.shape[1]
    mask_mod = block_mask(batch.segments).mask_mod
    mask = create_mask(mask_mod, len(RESPONSES), None, length, length, device="cpu")
    assert (batch.segments < 0).any() and torch.equal(mask, batch.attention)


def test_rewards_by_flex_attention_are_those_by_sdpa(tmp_path: Path) -> None:
    model = tiny.reward_model(tiny.backbone(tmp_path), pooling="last").eval()
    items = tiny.random_items(3, RESPONSES)
    with torch.no_grad():
        by_sdpa = model.rewards(items)
        flex_model = FlexRewardModel(model)
        assert (flex_model.rewards(items) - by_sdpa).abs().max() < 1e-4 < by_sdpa.std()


def test_rewards_by_flex_attention_under_autocast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries and keys leave the rotary embedding in float32, values are bf16."""
    model = tiny.reward_model(tiny.backbone(tmp_path), pooling="last").eval()
    items = tiny.random_items(3, RESPONSES)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    with torch.no_grad():
        by_sdpa = model.rewards(items)
        difference = (FlexRewardModel(model).rewards(items) - by_sdpa).abs().max()
    assert difference < 0.1 * by_sdpa.std()


def test_flex_attention_has_no_backward_pass_on_a_cpu(tmp_path: Path) -> None:
    model = FlexRewardModel(tiny.reward_model(tiny.backbone(tmp_path), pooling="last"))
    with pytest.raises(NotImplementedError, match="does not support backward on CPU"):
        model.rewards(tiny.random_items(3, RESPONSES))
