"""study/real/jobs.py: the jobs, and what a game changes."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from study.play import Workspace, change
from study.real.files import FOLDER as DATA
from study.real.files import MODEL
from study.real.jobs import World, real_jobs
from study.real.settings import read_real_settings
from tests.helpers.small_repo import ROOT

SETTINGS = read_real_settings()
NOWHERE = Path("nowhere")


def test_the_reward_models_of_every_seed_come_before_the_language_models() -> None:
    batches = list(real_jobs(SETTINGS, NOWHERE, NOWHERE))
    assert all(len({(job.seed, job.kind) for job in batch}) == 1 for batch in batches)
    shape = [(batch[0].seed, batch[0].kind, len(batch)) for batch in batches]
    number, seeds = len(SETTINGS.coefficients), SETTINGS.seeds
    llms = [(seed, "llm", number) for seed in seeds for _ in SETTINGS.methods]
    assert shape == [(seed, "rm", number + 1) for seed in seeds] + llms


def test_jobs_have_distinct_keys_that_follow_the_settings_and_not_the_folders() -> None:
    jobs = [job for batch in real_jobs(SETTINGS, NOWHERE, NOWHERE) for job in batch]
    keys = [job.key("code") for job in jobs]
    assert len(set(keys)) == len(keys)
    elsewhere = [job.key("code") for batch in real_jobs(SETTINGS, Path("a"), Path("b")) for job in batch]
    assert elsewhere == keys
    more_seeds = SETTINGS.model_copy(update={"seeds": [*SETTINGS.seeds, 99]})
    more_keys = {job.key("code") for batch in real_jobs(more_seeds, NOWHERE, NOWHERE) for job in batch}
    assert more_keys > set(keys)
    changed = SETTINGS.model_copy(update={"baseline": SETTINGS.baseline | {"rm.lr": 1.0}})
    assert not {job.key("code") for batch in real_jobs(changed, NOWHERE, NOWHERE) for job in batch} & set(
        keys
    )


def test_changes_name_the_model_the_files_and_the_seed(tmp_path: Path) -> None:
    changes = World(SETTINGS, NOWHERE, NOWHERE, 7).changes
    assert changes["backbone.start"] == changes["actor.start"] == str(MODEL)
    assert changes["data.dir"] == str(DATA)
    assert changes["seed"] == 7
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    change(params, changes)  # all of them are keys of params.yaml


def test_samples_that_differ_between_the_arms_are_one_error(tmp_path: Path) -> None:
    folder = tmp_path / "data/samples/r1"
    folder.mkdir(parents=True)
    for arm in ("base", "apo"):
        (folder / f"{arm}.jsonl").write_text(f'{{"query_id": "{arm}"}}\n', encoding="utf-8")
    with pytest.raises(UserError, match="different samples in the two arms"):
        World(SETTINGS, NOWHERE, NOWHERE, 1)._scored(Workspace(tmp_path, tmp_path))
