"""apo/report/figures.py: every curve is drawn or named."""

from pathlib import Path

from apo.report.figures import figures, not_drawn, thinned
from apo.report.run import read_run


def test_thinned_keeps_the_mean() -> None:
    points = [(float(i), float(i % 3)) for i in range(300)]
    curve = thinned(points, most=60)
    assert len(curve) == 60 and curve[0] == (2.0, (0 + 1 + 2 + 0 + 1) / 5)
    assert abs(sum(y for _, y in curve) / 60 - sum(y for _, y in points) / 300) < 1e-9
    assert thinned(points[:60], most=60) == points[:60]
    assert thinned([], most=60) == []


def test_figures_draw_or_name_every_curve(folder: Path) -> None:
    run = read_run(["r1"])
    drawn = figures(run.curves, run.metrics, ["r1"])
    assert [one.caption for one in drawn] == [
        "Language models by the testing RM, with 95 % intervals",
        "Training loss, reward models",
        "Training loss, language models in alignment",
        "Training loss, backbone",
        "Training loss, actor",
        "The game by round, testing RM, r1",
        "Reliability, testing RM",
        "Rewards of chosen and rejected, base RM",
        "Accuracy by margin, with the promised probability, base RM",
        "Rewards of golden answers and of the LLMs', APO RM, r1",
        "True reward by reward, APO RM, r1",
    ]
    assert not_drawn(run.curves) == [
        "r0/test_rm/novel",
        "r1/payoff/base_rm/truth",
    ]  # one without rows, one unknown
    assert all(one.svg.startswith("<svg ") and "<script" not in one.svg for one in drawn)
    assert figures(run.curves, run.metrics, ["r1"]) == drawn
    for name in ("base RM", "testing RM", "APO RM, r1"):
        assert f">{name}</text>" in drawn[1].svg
    assert figures({}, {}, ["r1"]) == []
