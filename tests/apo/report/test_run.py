"""apo/report/run.py: what there is of a run."""

from pathlib import Path

from apo.report.missing import missing_stages
from apo.report.run import read_run
from tests.helpers.report_run import page_of, text_of


def test_read_run_of_a_whole_run_lacks_nothing(folder: Path) -> None:
    run = read_run(["r1"])
    assert (missing_stages(run.metrics, ["r1"]), run.missing) == ([], [])
    text = text_of(page_of(run))
    assert "r1, this run: llm_apo minus llm_base by the testing RM: +0.500 (+0.250 to +0.750)" in text
    assert "This run is not whole" not in text
    assert "No judge from outside was named" in text
    assert "apo.coeff" in text
