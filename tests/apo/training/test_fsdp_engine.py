"""apo/training/fsdp_engine.py: what does not go with it. Trainings with it are in test_engines.py."""

import pytest
import torch
from torch import nn

from apo.core.errors import UserError
from apo.training.fsdp_engine import fsdp_requested
from apo.training.sharding import PlainModel
from tests.helpers import tiny_models as tiny


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("APO_FSDP", "1"), ("APO_DEEPSPEED", "")):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("value", "wanted"), [("", False), ("0", False), ("1", True)])
def test_it_is_an_engine_of_the_environment(
    value: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_FSDP", value)
    assert fsdp_requested(tiny.optimizer()) == wanted


def test_what_can_not_run_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"APO_FSDP: found the optimizer muon, .*; expected adamw"):
        fsdp_requested(tiny.optimizer(optimizer="muon"))
    monkeypatch.setenv("APO_DEEPSPEED", "configs/zero3.json")
    with pytest.raises(UserError, match="APO_FSDP: found APO_DEEPSPEED beside it; expected only one engine"):
        fsdp_requested(tiny.optimizer())
    monkeypatch.delenv("RANK")
    with pytest.raises(UserError, match=r"APO_FSDP: found no APO_LAUNCH; .*set APO_LAUNCH='torchrun"):
        fsdp_requested(tiny.optimizer())
    monkeypatch.setenv("APO_FSDP", "yes")
    with pytest.raises(UserError, match="APO_FSDP: found 'yes'; expected 0 or 1"):
        fsdp_requested(tiny.optimizer())


def test_the_whole_weights_are_freed_and_frozen_ones_come_back() -> None:
    """`PlainModel` holds the parameters that FSDP has replaced."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[1].weight.requires_grad_(False)
    trained, frozen = model[0].weight, model[1].weight
    kept = frozen.detach().clone()
    plain = PlainModel(model)
    plain.free_weights()
    assert trained.numel() == frozen.numel() == 0
    plain.restore()
    assert model[0].weight.numel() == 0  # the last checkpoint has them
    assert torch.equal(model[1].weight, kept)
