"""apo/training/fsdp_engine.py: what does not go with it. Trainings with it are in test_engines.py."""

import pytest

from apo.core.errors import UserError
from apo.training.fsdp_engine import fsdp_requested
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
