"""apo/alignment/settings.py: the settings of one round out of sections `align` and `training`."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from apo.alignment.settings import read_align
from apo.core.errors import UserError
from tests.helpers.small_repo import ROOT, change_params

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def test_read_align_gives_each_round_its_learning_rate(params: Path) -> None:
    shared = {key: value for key, value in PARAMS["align"].items() if key != "lr"}
    for round, lr in PARAMS["align"]["lr"].items():
        assert read_align(params, round).model_dump() == PARAMS["training"] | shared | {"lr": lr}
    assert len(set(PARAMS["align"]["lr"].values())) > 1


def test_read_align_refuses_a_round_without_learning_rate(params: Path) -> None:
    with pytest.raises(
        UserError, match=r"align\.lr\.r9: found no such key; .* beside r1, r2, r3, such as `r9: 5"
    ):
        read_align(params, "r9")


def test_read_align_checks_both_sections(params: Path) -> None:
    change_params(params, {"training": {"beta2": 1.0}})
    with pytest.raises(UserError, match=r"training\.beta2: found 1\.0; expected less than 1"):
        read_align(params, "r1")
    change_params(params, {"align": {"beta": 0.0}})
    with pytest.raises(UserError, match=r"align\.beta: found 0\.0; expected greater than 0"):
        read_align(params, "r1")
