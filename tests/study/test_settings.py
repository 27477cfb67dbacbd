"""study/settings.py: what settings.yaml asks for, and in which order."""

import itertools
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from apo.core.errors import UserError
from study import play
from study.settings import SETTINGS, games, quick_settings, read_settings
from study.transfer import transfer_jobs
from tests.helpers.small_repo import ROOT


def test_settings_change_keys_that_params_has(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    for settings in (read_settings(), quick_settings(read_settings())):
        played = [game.changes for game in itertools.chain.from_iterable(games(settings)) if game.seed == 1]
        aligned = [one.changes for one in itertools.chain.from_iterable(transfer_jobs(settings))]
        for changes in [*played, *{str(one): one for one in aligned}.values()]:
            params.write_bytes((ROOT / "params.yaml").read_bytes())
            play.change(params, changes)
        loaded = YAML(typ="safe").load(params.read_text(encoding="utf-8"))
        assert loaded["rounds"][0]["id"] == "r1"


def test_games_come_in_the_order_of_play() -> None:
    settings = read_settings()
    lines = list(games(settings))
    assert [[game.name for game in line] for line in lines[:10]] == [["rjs", "rrhf", "dpo"]] * 10
    assert [line[0].seed for line in lines[:10]] == settings.seeds
    assert [(line[0].name, line[0].seed) for line in lines[10:20]] == [
        (settings.sweep[0].name, seed) for seed in settings.seeds
    ]
    kinds = [kind for kind, _ in itertools.groupby(line[0].kind for line in lines)]
    assert kinds == ["method", "sweep", "confirmation", "alignment", "comparisons", "model_size"]


def test_fresh_seeds_have_no_part_in_the_sweep() -> None:
    settings = read_settings()
    assert not {*settings.confirmation.seeds} & {*settings.seeds}


def test_sets_have_the_games_of_their_design() -> None:
    settings = read_settings()
    all_games = [game for line in games(settings) for game in line]
    alignment = [game for game in all_games if game.kind == "alignment"]
    assert len(alignment) == len(settings.alignment.seeds) * 2 * 3
    assert {game.changes["apo.coeff"] for game in alignment} == {2.0, 0.0}
    axis = [game for game in all_games if game.kind == "comparisons" and game.seed == 1]
    numbers = {
        round(game.changes["data.demo.comparisons"] * game.changes["split.rm_fraction"]) for game in axis
    }
    assert numbers == {*settings.comparisons.values}
    assert all(game.changes["rm.warmup_steps"] < min(numbers) // 16 for game in axis)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(coeff 0), coeff 2]", "(coeff 0), coeff 3]", "coeff 3 is no setting of the sweep"),
        ("methods: [rjs, rrhf, dpo]", "methods: [rjs, ppo]", "ppo is no method"),
        ("seeds: [1, 2, 3", "seeds: [one, 2, 3", "valid integer"),
    ],
)
def test_read_settings_refuses(tmp_path: Path, old: str, new: str, message: str) -> None:
    path, text = tmp_path / "settings.yaml", SETTINGS.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_settings(path)
