"""apo/report/figures.py: the plots of `dvc plots` and two more, from the curves of a run."""

from pathlib import Path

from apo.plots.tables import read_tables
from apo.report.figures import dvc_plots, figures, join_rounds
from apo.report.run import read_run
from stages.plots import main as plots
from stages.tables import main as tables


def test_figures_draw_the_plots_that_have_values(folder: Path) -> None:
    run = read_run(["r1"])
    drawn = figures(run.curves, run.metrics, ["r1"])
    assert [one.name for one in drawn] == [
        "scores",
        "rm_loss",
        "llm_loss",
        "reliability",
        "margins",
        "rewards",
        "golden_samples",
        "truth",
        "rounds",
    ]  # no accuracy of the human pairs, no lengths
    assert all(one.svg.startswith("<svg ") and "<script" not in one.svg for one in drawn)
    assert figures(run.curves, run.metrics, ["r1"]) == drawn
    svgs = {one.name: one.svg for one in drawn}
    for name in ("base_rm", "test_rm", "apo_rm_r1", "optimizer step", "loss, nats a pair"):
        assert f">{name}</text>" in svgs["rm_loss"]
    assert figures({}, {}, ["r1"]) == []


def test_figures_show_the_lengths_of_every_rm(folder: Path) -> None:
    rows = [{"from": "0", "to": "1", "queries": "2", "responses": "4", "sequences": "4"}]
    curves = {f"{name}/lengths": rows for name in ("r0/train_base_rm", "r0/test_rm", "r1/train_apo_rm")}
    (drawn,) = figures(curves, {}, ["r1"])
    for text in ("base_rm", "test_rm", "apo_rm_r1", "queries", "responses", "sequences"):
        assert f">{text}</text>" in drawn.svg


def test_dvc_plots_have_no_revision_and_no_open_placeholder(folder: Path) -> None:
    drawn = list(dvc_plots(join_rounds(read_run(["r1"]).curves, ["r1"])))
    assert len(drawn) == 8
    for plot in drawn:
        assert "DVC_METRIC" not in str(plot.spec), plot.name
        assert "{'field': 'rev'" not in str(plot.spec), plot.name


def test_join_rounds_gives_the_tables_of_the_stages(folder: Path) -> None:
    """The rows of `metrics/plots` of a run of one round."""
    metrics = Path("metrics")
    tables("r1", metrics / "curves/r0", metrics / "curves/r1", Path("no_tables"), metrics / "tables/r1")
    plots(metrics / "tables/r1", metrics / "plots")
    joined = join_rounds(read_run(["r1"]).curves, ["r1"])
    assert joined == read_tables(metrics / "plots")
    assert sum(map(len, joined.values())) > 20


def test_join_rounds_keeps_a_table_that_the_last_round_does_not_have_yet(folder: Path) -> None:
    curves = read_run(["r1"]).curves
    step = [{"step": "1", "loss": "0.5"}]
    joined = join_rounds(curves | {"r2/train_apo_rm/training": step}, ["r1", "r2"])
    assert joined["rounds"] == join_rounds(curves, ["r1"])["rounds"] != []
    assert joined["rm_training"][-1]["model"] == "apo_rm_r2"


def test_join_rounds_keeps_a_model_whose_ratings_the_last_round_does_not_have_yet(folder: Path) -> None:
    """Base RM and testing RM rate the answers in every round."""
    bar = [{"kind": "golden", "reward": "0.5", "true_reward": "1.0", "count": "1", "share": "1.0"}]
    places = ("payoff/base_rm", "evaluate", "payoff/apo_rm")
    curves = {f"r1/{place}/{name}": bar for place in places for name in ("golden_samples", "truth")}
    rms = ["base_rm", "test_rm", "apo_rm_r1"]
    first, both = join_rounds(curves, ["r1"]), join_rounds(curves, ["r1", "r2"])
    assert both == first
    assert [row["model"] for row in both["golden_samples"]] == rms
    assert [row["model"] for row in both["truth"]] == rms
    scored = {f"r2/{place}/truth": [bar[0] | {"reward": "2"}] for place in ("evaluate", "payoff/apo_rm")}
    truth = join_rounds(curves | scored, ["r1", "r2"])["truth"]
    assert [(row["model"], row["reward"]) for row in truth] == [
        ("base_rm", "0.5"),
        ("test_rm", "2"),
        ("apo_rm_r1", "0.5"),
        ("apo_rm_r2", "2"),
    ]
