"""study/jobs.py: what a result is kept under."""

from typing import Any

from study.jobs import Job, jobs
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
