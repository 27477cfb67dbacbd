"""study/run.py: results are kept one by one, and a failed job does not stop the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from study import run as module
from study.jobs import Job
from study.play import Workspace
from study.run import run


class NoServer:
    folder = Path()

    def __enter__(self) -> "NoServer":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_games(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_copy(target: Path, cache: Path) -> Path:
        target.mkdir(parents=True)
        return target

    monkeypatch.setattr(module, "ForkServer", NoServer)
    monkeypatch.setattr(module, "make_copy", make_copy)


def test_run_keeps_each_result_and_plays_only_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[str] = []
    broken = {"b", "d"}

    def job(name: str) -> Job:
        def play(workspace: Workspace) -> dict[str, Any]:
            played.append(name)
            if name in broken:
                if name == "b":
                    workspace.log.touch()  # that of a stage that failed; of d no stage has run
                raise UserError("b", found="a fault", expected="none", do="look")
            return {"value": name}

        return Job("method", name, 1, [name], play)

    lists = [[job("a"), job("b")], [job("c")]]
    assert run([*lists, [job("d")]], tmp_path, 1, "code") == 2
    assert played.pop() == "d"
    assert "FAILED: b: found a fault" in capsys.readouterr().out
    assert len(list(tmp_path.glob("failed-*.log"))) == 1
    assert not list(tmp_path.glob("copy-*"))
    broken.clear()
    assert run(lists, tmp_path, 2, "code") == 0
    assert played == ["a", "b", "c", "b"]
    assert "3 games, 2 of them kept from before" in capsys.readouterr().out
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "results").iterdir()]
    assert sorted(one["value"] for one in kept) == ["a", "b", "c"]
    assert all(one["code"] == "code" and one["seconds"] >= 0 for one in kept)
