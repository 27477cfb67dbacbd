"""study/__main__.py: a part of the study, and, slow, tiny games that are played."""

import sys
from pathlib import Path

import pytest

from tests.helpers.small_repo import ROOT, copy_repository, run


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose games share one cache."""
    return copy_repository(tmp_path_factory.mktemp("study"), small=False)


def run_study(repository: Path, *games: str) -> str:
    """What a quick study of these games of seed 1 prints."""
    command = [sys.executable, "-m", "study", "--quick", "--seeds", "1", "--workers", "1", "--only", *games]
    done = run(command, repository)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_quick_study_plays_prints_and_resumes(repository: Path) -> None:
    """A game of each set."""
    games = ("rjs", "no adversarial samples (coeff 0)", "rjs, coeff 2", "240 comparisons, coeff 0.1")
    first = run_study(repository, *games)
    assert "4 games, 0 of them kept from before" in first
    assert "4 of 4: " in first
    for kind, name in zip(("method", "sweep", "alignment", "comparisons"), games, strict=True):
        assert f"| {kind} | {name} | 1 of 2 |" in first
    again = run_study(repository, *games)
    assert "4 games, 4 of them kept from before" in again
    assert again.partition("question\n")[2] == first.partition("question\n")[2]
    kept = (ROOT / "study/results.jsonl").read_bytes()
    assert (repository / "study/results.jsonl").read_bytes() == kept  # a quick run writes nothing


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_quick_transfer_aligns_on_what_every_chooser_chose(repository: Path) -> None:
    choosers = ("random", "base RM", "truth")
    output = run_study(repository, *(f"rjs on 400 targets by {chooser}, seed 201" for chooser in choosers))
    assert "3 of 3: " in output
    table = output.partition("transfer_gain\n")[2].partition("\n\n")[0]
    gains = [float(line.split(" | ")[3]) for line in table.splitlines()[2:] if "slope" not in line]
    assert table == "Not played by two seeds yet." or gains[-1] > 0  # one world has no difference over seeds
