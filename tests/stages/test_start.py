"""start: round zero under the names that the first round looks for, whole or not at all."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from stages.start import main

ROUNDS = "rounds: [{id: r1, prev: r0}]\n"
OUTPUTS = {"llm_base": "actor", "llm_apo": "actor", "rm_apo": "rm_base"}


def play(folder: Path, rounds: str = ROUNDS) -> None:
    """Runs the stage on an actor and a base RM of two files each."""
    for name in ("actor", "rm_base"):
        checkpoint = folder / "models" / name
        (checkpoint / "more").mkdir(parents=True)
        (checkpoint / "model.safetensors").write_text(f"weights of {name}")
        (checkpoint / "more" / "config.json").write_text("{}")
    (folder / "params.yaml").write_text(rounds)
    outs = {f"out_{name}": folder / f"models/{name}/r0" for name in OUTPUTS}
    models = folder / "models"
    main(
        models / "actor",
        models / "rm_base",
        **outs,
        out_tables=folder / "tables",
        params=folder / "params.yaml",
    )


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_start_gives_both_arms_the_actor_and_the_base_rm(tmp_path: Path) -> None:
    play(tmp_path)
    for out, name in OUTPUTS.items():
        contents = files(tmp_path / f"models/{out}/r0")
        assert contents == {"model.safetensors": f"weights of {name}", "more/config.json": "{}"}, out
    assert files(tmp_path / "tables") == {
        "rounds.json": "[]\n"
    }  # no table: the first round has none before it


def test_start_copies_where_it_can_not_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("another device")

    play(tmp_path / "linked")
    assert (tmp_path / "linked/models/llm_apo/r0/model.safetensors").stat().st_nlink == 3
    monkeypatch.setattr("os.link", refuse)
    play(tmp_path / "copied")
    assert files(tmp_path / "copied") == files(tmp_path / "linked")
    assert (tmp_path / "copied/models/llm_apo/r0/model.safetensors").stat().st_nlink == 1


def test_start_replaces_what_was_there(tmp_path: Path) -> None:
    old = tmp_path / "models/llm_apo/r0/old.json"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    play(tmp_path)
    assert not old.exists()


def test_start_writes_nothing_for_rounds_that_do_not_chain(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rounds\[0\]: found round 'r2' after 'r1'"):
        play(tmp_path, "rounds: [{id: r2, prev: r1}]\n")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["actor", "rm_base"]


def test_start_refuses_a_missing_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(ROUNDS)
    models = tmp_path / "models"
    with pytest.raises(UserError, match=r"models/actor: found no such folder"):
        main(models / "actor", models, models, models, models, models, tmp_path / "params.yaml")
