"""apo/core/cache.py: a fingerprint is that of settings, content and code; which states are removed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apo.core import cache
from apo.core.cache import fingerprint, folder_of, locked
from tests.helpers import tiny_models as tiny


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")


def test_fingerprint_is_that_of_settings_content_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.jsonl"
    folder = tmp_path / "model" / "deep"
    folder.mkdir(parents=True)
    data.write_text("a")
    (folder / "weights").write_text("w")
    code = tmp_path / "code"
    code.mkdir()
    (code / "losses.py").write_text("loss = 1")
    monkeypatch.setattr(cache, "CODE", code)
    monkeypatch.setattr(cache, "loaded_code", lambda: [code / "losses.py"])

    def found(settings: Any = None, seed: int = 1) -> str:
        return fingerprint([settings or tiny.optimizer(), seed], [data, tmp_path / "model"])

    first = found()
    assert first == found()
    seen = {first, found(tiny.optimizer(lr=0.5)), found(seed=2)}
    data.write_text("b")
    seen.add(found())
    data.write_text("a")
    assert found() == first
    (folder / "weights").write_text("v")
    seen.add(found())
    (folder / "weights").rename(folder / "other_name")
    seen.add(found())
    (code / "losses.py").write_text("loss = -1")
    seen.add(found())
    assert len(seen) == 7


def test_loaded_code_is_what_is_imported_of_this_package() -> None:
    """And not the rest: a change to another stage's code leaves a killed training its state."""
    eval_fn = "import stages.train_base_rm; from apo.core.cache import loaded_code; print(*loaded_code())"
    done = subprocess.run(
        [sys.executable, "-c", eval_fn], cwd=cache.CODE.parent, capture_output=True, text=True, check=True
    )
    names = {Path(name).relative_to(cache.CODE).as_posix() for name in done.stdout.split()}
    assert {"losses.py", "training/trainer.py", "core/cache.py"} < names
    assert not {"sampling/generation.py", "demo/world.py", "evaluation/compare_llms.py"} & names


def test_fingerprint_does_not_depend_on_where_the_files_are(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("w")
    assert fingerprint([1], [tmp_path / "here"]) == fingerprint([1], [tmp_path / "there"])


def test_locked_removes_all_but_the_four_newest_states_of_its_stage_and_those_that_run() -> None:
    """As with `dvc queue start -j 6`: a task that ends leaves the checkpoints of the others alone."""
    folders = [folder_of("stage", str(number)) for number in range(7)]
    for age, folder in enumerate(reversed(folders)):
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    others = [folder_of("other", "0"), folder_of("stage-b", "0")]  # a round's id may hold a hyphen
    for other in others:
        other.mkdir()
        os.utime(other, (0, 0))
    (folder_of("stage", "gone")).symlink_to("removed by another process")
    with locked(folders[0]):  # the oldest runs again, and is the newest now
        with locked(folders[6]):
            pass
        os.utime(folders[0], (0, 0))
        with locked(folders[5]):
            pass
    assert [folder.exists() for folder in folders] == [True, False, False, False, True, True, True]
    assert all(other.exists() for other in others)
