"""apo/report/missing.py: a run that lacks stages says which, and shows the rest."""

from pathlib import Path

from apo.report.missing import missing_stages
from apo.report.run import read_run
from tests.helpers.report_run import page_of, text_of


def test_missing_stages_are_named_and_the_rest_is_shown(folder: Path) -> None:
    for name in ("metrics/r1/evaluate.json", "data/rjs/r1/apo.jsonl", "metrics/evaluate_test_rm.json"):
        Path(name).unlink()
    run = read_run(["r1"])
    assert missing_stages(run.metrics, ["r1"]) == ["evaluate_test_rm", "evaluate of round r1"]
    assert run.missing == ["data/rjs/r1/apo.jsonl"]
    text = text_of(page_of(run))
    for expected in (
        "This run is not whole",
        "stage evaluate of round r1: no metrics",
        "file data/rjs/r1/apo.jsonl",
        "no round of this run was evaluated",
        "Language models",
        "0.720 (0.650 to 0.750)",
    ):
        assert expected in text
    assert len(run.transcripts) == 15
    assert "APO RM" not in run.transcripts[0]["chosen"] and run.transcripts[0]["rewards"]["APO RM"]
