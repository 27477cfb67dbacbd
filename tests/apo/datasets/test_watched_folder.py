"""apo/datasets/watched_folder.py: what an experiment in a copy of the repository lacks is told as that."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.datasets.watched_folder import check_name

WAYS = r"run `git add data/input/x\.jsonl` first, or `dvc exp run` with `-C data/input/x\.jsonl`"


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file that Git does not track, and the working folder of an experiment in a copy."""
    (tmp_path / "data" / "input").mkdir(parents=True)
    (tmp_path / "data" / "input" / "x.jsonl").write_text("{}")
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    (copy / "data" / "input").mkdir(parents=True)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(copy)
    return tmp_path


def test_check_name_names_two_ways_out_for_an_untracked_file(original: Path) -> None:
    with pytest.raises(UserError, match=WAYS) as error:
        check_name("x.jsonl", Path("data/input"), twice=False, where="params.yaml: data.files.comparisons")
    assert "correct the path" not in str(error.value)


def test_check_name_looks_at_the_root_that_dvc_names(
    original: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("queue")
    (elsewhere / "data" / "input").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    check_name("x.jsonl", Path("data/input"), twice=False, where="w")  # nobody knows of a copy
    monkeypatch.setenv("DVC_ROOT", str(original))
    with pytest.raises(UserError, match=WAYS):
        check_name("x.jsonl", Path("data/input"), twice=False, where="w")


def test_check_name_leaves_a_missing_file_to_its_reader(original: Path) -> None:
    check_name("y.jsonl", Path("data/input"), twice=False, where="w")
