"""study/real/settings.py: the file itself, and a broken one."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from study.play import change
from study.real.files import data_changes
from study.real.settings import read_real_settings
from tests.helpers.small_repo import ROOT


def test_settings_have_the_control_and_the_coefficient_of_the_length_control() -> None:
    settings = read_real_settings()
    assert 0.0 in settings.coefficients
    assert settings.length_control in settings.coefficients
    assert {file.part for file in settings.files} == {"rm", "llm", "test", "golden"}


def test_settings_change_keys_that_params_has(tmp_path: Path) -> None:
    settings = read_real_settings()
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    for changes in (settings.baseline, data_changes(settings), *settings.methods.values()):
        change(params, changes)


def test_an_unknown_key_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("seeds: [1]\nseedlings: []\n", encoding="utf-8")
    with pytest.raises(UserError, match="seedlings"):
        read_real_settings(path)
