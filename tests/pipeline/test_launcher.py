"""The stages of the demo under torchrun, by the commands that dvc.yaml has."""

from pathlib import Path

import pytest

from tests.helpers.small_repo import copy_repository, run


@pytest.mark.slow
def test_backbone_actor_and_base_rm_train_in_two_processes(tmp_path: Path) -> None:
    """torchrun reads an option before it hands it on: one that is the beginning of its own is an error."""
    repository = copy_repository(tmp_path / "game")
    launch = {"APO_LAUNCH": "torchrun --standalone --nproc_per_node 2", "APO_THREADS": "1"}
    done = run(["dvc", "repro", "actor", "train_base_rm"], repository, **launch)
    assert done.returncode == 0, done.stderr
    for name in ("backbone", "actor", "rm_base"):
        card = (repository / "models" / name / "README.md").read_text(encoding="utf-8")
        assert "- `processes`: 2\n" in card, name
