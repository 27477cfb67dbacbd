"""study/__main__.py: a part of the study, and, slow, tiny games that are played."""

import argparse
import sys
from pathlib import Path

import pytest

from apo.core.errors import UserError
from study.__main__ import part_of
from study.jobs import jobs
from study.settings import read_settings
from tests.helpers.small_repo import ROOT, copy_repository, run

SETTINGS = read_settings()


def chosen(**options: list) -> argparse.Namespace:
    return argparse.Namespace(**{"sets": [], "seeds": [], "only": []} | options)


def test_part_of_sets_seeds_and_names() -> None:
    every = list(jobs(SETTINGS))
    part = part_of(every, chosen(seeds=[3, 2], only=["dpo", "WGAN"]), SETTINGS)
    assert [[(job.name, job.seed) for job in line] for line in part] == [
        [("dpo", 2)],
        [("dpo", 3)],
        [("WGAN", 2)],
        [("WGAN", 3)],
    ]
    assert part_of(every, chosen(), SETTINGS) == every
    assert {job.kind for line in part_of(every, chosen(sets=["transfer"]), SETTINGS) for job in line} == {
        "transfer"
    }
    with pytest.raises(UserError, match=r"found 77, gan; expected some of 1, .* rjs, rrhf, dpo, no "):
        part_of(every, chosen(seeds=[77, 1], only=["gan"]), SETTINGS)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("options", "games", "expected"),
    [
        (["--only", "rjs", "no adversarial samples (coeff 0)"], 2, "| method | rjs | 1 of 2 |"),
        (
            ["--sets", "alignment", "--only", "rjs, coeff 2", "rjs, coeff 0"],
            2,
            "| alignment | rjs, coeff 2 | 1 of 2 |",
        ),
        (["--sets", "comparisons"], 2, "| comparisons | 240 comparisons, coeff 0.1 | 1 of 2 |"),
    ],
)
def test_a_quick_study_plays_prints_and_resumes(
    tmp_path: Path, options: list[str], games: int, expected: str
) -> None:
    repository = copy_repository(tmp_path, small=False)
    command = [sys.executable, "-m", "study", "--quick", "--seeds", "1", "--workers", "1", *options]
    first = run(command, repository)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"{games} games, 0 of them kept from before" in first.stdout
    assert f"{games} of {games}: " in first.stdout
    assert expected in first.stdout
    again = run(command, repository)
    assert f"{games} games, {games} of them kept from before" in again.stdout
    assert again.stdout.partition("question\n")[2] == first.stdout.partition("question\n")[2]
    kept = (ROOT / "study/results.jsonl").read_bytes()
    assert (repository / "study/results.jsonl").read_bytes() == kept  # a quick run writes nothing


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_quick_transfer_aligns_on_what_every_chooser_chose(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path, small=False)
    names = [f"rjs on 400 targets by {chooser}, seed 201" for chooser in ("random", "base RM", "truth")]
    command = [sys.executable, "-m", "study", "--quick", "--seeds", "1", "--workers", "1", "--only", *names]
    first = run(command, repository)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "3 of 3: " in first.stdout
    table = first.stdout.partition("transfer_gain\n")[2].partition("\n\n")[0]
    gains = [float(line.split(" | ")[3]) for line in table.splitlines()[2:] if "slope" not in line]
    assert table == "Not played by two seeds yet." or gains[-1] > 0  # one world has no difference over seeds
