"""study/jobs.py: what a result is kept under, and the jobs that are chosen."""

from typing import Any

import pytest

from apo.core.errors import UserError
from study.jobs import Job, jobs, part_of
from study.play import Workspace
from study.settings import read_settings


def job(name: str, desc: Any) -> Job:
    def play(workspace: Workspace) -> dict[str, Any]:
        raise AssertionError("not to be played")

    return Job("method", name, 1, desc, play)


def test_key_is_that_of_code_and_parameters_alone() -> None:
    one, renamed = job("rjs", [{"seed": 1}, ["x"]]), job("RJS", [{"seed": 1}, ["x"]])
    assert one.key("a") == renamed.key("a") != one.key("b")
    assert job("rjs", [{"seed": 1, "apo.coeff": 0.2}, ["x"]]).key("a") != one.key("a")


def test_jobs_have_distinct_names_and_keys() -> None:
    all_jobs = [one for line in jobs(read_settings()) for one in line]
    keys = {one.key("code") for one in all_jobs}
    assert len(keys) == len(all_jobs)
    assert len({(one.kind, one.name, one.seed) for one in all_jobs}) == len(all_jobs)


def test_part_of_takes_sets_seeds_and_names() -> None:
    every = list(jobs(read_settings()))
    part = part_of(every, seeds=[3, 2], names=["dpo", "WGAN"])
    assert [[(job.name, job.seed) for job in line] for line in part] == [
        [("dpo", 2)],
        [("dpo", 3)],
        [("WGAN", 2)],
        [("WGAN", 3)],
    ]
    assert part_of(every, seeds=[], names=[]) == every
    transfer = part_of(every, seeds=[], names=[], kinds=["transfer"])
    assert {job.kind for line in transfer for job in line} == {"transfer"}


def test_part_of_names_what_no_job_has() -> None:
    every = list(jobs(read_settings()))
    with pytest.raises(
        UserError, match=r"--seeds: found 77; expected some of 1, 2, .* 20; .* add it to `seeds`"
    ):
        part_of(every, seeds=[77, 1], names=[])
    with pytest.raises(UserError, match=r"found 11; expected some of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;"):
        part_of(every, seeds=[11], names=[], kinds=["sweep"])
    with pytest.raises(UserError, match=r"--only: found 'gan'; expected names of games, such as .*'WGAN'"):
        part_of(every, seeds=[], names=["gan", "rjs"])


def test_part_of_refuses_a_choice_that_no_job_fits() -> None:
    with pytest.raises(UserError, match="no game that has all of them"):
        part_of(list(jobs(read_settings())), seeds=[20], names=["WGAN"])
