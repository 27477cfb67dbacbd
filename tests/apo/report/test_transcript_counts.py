"""apo/report/transcript_counts.py: what the page leaves out is counted."""

from pathlib import Path

from apo.report.page import build_page
from apo.report.run import Run, read_run
from apo.report.transcript_counts import at_most, count
from tests.helpers.report_run import settings


def test_at_most_and_count_count_what_is_left_out(folder: Path) -> None:
    rows = read_run(["r1"]).transcripts
    assert [sum(one["split"] == split for one in rows) for split in ("llm", "test", "rm")] == [6, 6, 3]
    shown = at_most(rows, 2, seed=1)
    assert [sum(one["split"] == split for one in shown) for split in ("llm", "test", "rm")] == [2, 2, 2]
    assert [one for one in rows if one in shown] == shown  # in their order
    assert at_most(rows, 0, seed=1) == rows
    expected = {"transcripts": 6, "left_out": 9, "same_choice": 4, "other_choice": 2}
    assert count(rows, shown) == expected
    page = build_page(Run({}, {}, rows, []), shown, settings())
    assert "9 transcripts are left out of the page" in page
    assert "are left out" not in build_page(Run({}, {}, rows, []), rows, settings())
