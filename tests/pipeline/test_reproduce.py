"""Two fresh clones give the same bytes, wherever, whenever and by whom they are run (`make reproduce`).

`test_hermetic.py` holds every stage to it. Here whole games are played twice: with `APO_TWICE=1`, as `make
reproduce` has it, a small one, with `APO_FULL=1` that of `params.yaml`.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.played_repo import dvc, git, ran, stages
from tests.helpers.small_repo import ROOT, change_params, copy_repository, run
from tests.pipeline.test_hermetic import ELSEWHERE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
TWICE, FULL = os.environ.get("APO_TWICE"), os.environ.get("APO_FULL")


@pytest.mark.skipif(
    not TWICE, reason="every stage is run twice by test_hermetic; make reproduce plays whole games"
)
def test_a_second_clone_elsewhere_gives_the_same_bytes(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Another folder and depth, another home, language, time zone, hash seed, thread environment."""
    if FULL:
        first = copy_repository(tmp_path / "full" / "repository", small=False)
        dvc(first, "repro")
    else:
        first = request.getfixturevalue("game")
    home = tmp_path / "home of somebody else"
    home.mkdir()
    second = tmp_path / "deeper" / "ünder another name" / "clone"
    second.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(first), str(second)], check=True)
    (second / "dvc.lock").unlink(missing_ok=True)
    output = dvc(second, "repro", HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), **ELSEWHERE)
    assert ran(output) == set(stages(second)), output
    assert (second / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()
    for path in sorted((first / "metrics").rglob("*.json")):
        assert (second / path.relative_to(first)).read_bytes() == path.read_bytes(), path


def test_a_clone_without_data_says_whether_the_lock_is_that_of_code_and_parameters(
    game: Path, tmp_path: Path
) -> None:
    """The gate for a pull request."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(game), str(clone)], check=True)
    gate = ["dvc", "repro", "--dry", "--allow-missing"]
    done = run(gate, clone)
    assert done.returncode == 0 and not ran(done.stdout), done.stdout
    losses = (clone / "apo/losses.py").read_text(encoding="utf-8")
    (clone / "apo/losses.py").write_text(losses.replace('"""', '"""Another sentence. ', 1), encoding="utf-8")
    assert run(gate, clone).returncode != 0
    git(clone, "checkout", "-q", ".")
    change_params(clone / "params.yaml", {"apo": {"coeff": 0.2}})
    assert run(gate, clone).returncode != 0


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
