"""Two fresh clones give the same bytes, wherever, whenever and by whom they are run (`make reproduce`).

With `APO_FULL=1` it is the game of `params.yaml` that is played twice, otherwise a small one.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.played_repo import dvc, git, ran, stages
from tests.helpers.small_repo import ROOT, copy_repository, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

ELSEWHERE = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONHASHSEED": "4711",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "3",
    "APO_CHECKPOINT_SECONDS": "0",
    "COLUMNS": "40",
}


@pytest.fixture(scope="module")
def first(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as it was played here."""
    if os.environ.get("APO_FULL"):
        repository = copy_repository(tmp_path_factory.mktemp("full") / "repository", small=False)
        dvc(repository, "repro")
        return repository
    played: Path = request.getfixturevalue("game")
    return played


def test_a_second_clone_elsewhere_gives_the_same_bytes(first: Path, tmp_path: Path) -> None:
    """Another folder and depth, another home, language, time zone, hash seed, thread environment."""
    home = tmp_path / "home of somebody else"
    home.mkdir()
    second = tmp_path / "deeper" / "ünder another name" / "clone"
    second.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(first), str(second)], check=True)
    (second / "dvc.lock").unlink(missing_ok=True)
    output = dvc(second, "repro", HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), **ELSEWHERE)
    assert ran(output) == set(stages(second)), output
    assert (second / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()
    record = json.loads((second / "models" / "rm_base.provenance.json").read_text())
    assert record["arithmetic"] == {
        "device": "cpu",
        "precision": "float32",
        "threads": int(os.environ.get("APO_THREADS", "2")),
        "deterministic_algorithms": True,
    }
    for path in sorted((first / "metrics").rglob("*.json")):
        assert (second / path.relative_to(first)).read_bytes() == path.read_bytes(), path


def test_a_clone_without_data_says_whether_the_lock_is_that_of_code_and_parameters(
    game: Path, tmp_path: Path
) -> None:
    """The gate for a pull request."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(game), str(clone)], check=True)
    gate = ["dvc", "repro", "--dry", "--allow-missing"]
    assert run(gate, clone).returncode == 0
    for path, old, new in (
        ("params.yaml", "coeff: 0.1", "coeff: 0.2"),
        ("apo/losses.py", '"""', '"""Another sentence. '),
    ):
        text = (clone / path).read_text(encoding="utf-8")
        (clone / path).write_text(text.replace(old, new, 1), encoding="utf-8")
        assert run(gate, clone).returncode != 0, path
        git(clone, "checkout", "-q", ".")
        assert run(gate, clone).returncode == 0


def test_the_committed_lock_is_that_of_the_committed_code(tmp_path: Path) -> None:
    """Of this very repository, where it is a clean checkout."""
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True)
    if changed.stdout:
        pytest.skip("the checkout has changes that are not committed")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    done = run(["dvc", "repro", "--dry", "--allow-missing"], clone)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not ran(done.stdout), "dvc.lock is older than the code: run `dvc repro` and commit it"
