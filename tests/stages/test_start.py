"""start: the same checkpoint under the name that the first round looks for, whole or not at all."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from stages.start import main

ROUNDS = "rounds: [{id: r1, prev: r0}]\n"


def play(folder: Path, rounds: str = ROUNDS) -> Path:
    checkpoint, params = folder / "models/actor", folder / "params.yaml"
    (checkpoint / "more").mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "more" / "config.json").write_text("{}")
    params.write_text(rounds)
    main(checkpoint, folder / "models/llm_apo/r0", params)
    return folder / "models/llm_apo/r0"


def test_the_files_are_the_same(tmp_path: Path) -> None:
    out = play(tmp_path)
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
        "model.safetensors": b"weights",
        "more/config.json": b"{}",
    }


def test_they_are_copied_where_they_can_not_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    out = play(tmp_path)
    assert (out / "model.safetensors").read_bytes() == b"weights"
    assert (out / "model.safetensors").stat().st_nlink == 1


def test_a_later_run_replaces_what_was_there(tmp_path: Path) -> None:
    old = tmp_path / "models/llm_apo/r0/old.json"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    assert not (play(tmp_path) / "old.json").exists()


def test_nothing_is_written_for_rounds_that_do_not_chain(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rounds\[0\]: found round 'r2' after 'r1'"):
        play(tmp_path, "rounds: [{id: r2, prev: r1}]\n")
    assert not (tmp_path / "models/llm_apo").exists()


def test_a_checkpoint_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(ROUNDS)
    with pytest.raises(UserError, match=r"models/actor: found no such folder"):
        main(tmp_path / "models/actor", tmp_path / "out", tmp_path / "params.yaml")
