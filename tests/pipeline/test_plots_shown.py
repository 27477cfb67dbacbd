"""`dvc plots show` and `dvc plots diff` without a network, looked at in a browser."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page

from apo.core.tables import write_csv
from apo.plots.html_template import main as write_page
from apo.plots.tables import COLUMNS
from tests.helpers.browser import Seen, find_browser, opened
from tests.helpers.small_repo import ROOT, run
from tests.pipeline.test_hermetic import offline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TABLES = "metrics/plots"
CURVES = {"base_rm": "r0/train_base_rm", "test_rm": "r0/test_rm", "apo_rm_r1": "r1/train_apo_rm"}
PLOTS: dict[str, Any] = {
    name: plot
    for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    for name, plot in entry.items()
}


@pytest.fixture(scope="module", autouse=True)
def page_is_there(game: Path) -> None:
    """What `make setup` does; and no game is played for nothing."""
    find_browser()
    write_page(game / ".dvc/plots/page.html")


def drawn(where: Path, *command: str) -> Path:
    """The page that dvc writes without a network; dvc has nothing to complain about."""
    done = run([*offline(), "dvc", "plots", *command], where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip(), done.stderr
    assert done.stdout.strip() == (where / "dvc_plots/index.html").as_uri()
    return where / "dvc_plots/index.html"


def charts(page: Page, seen: Seen, picture: Path) -> dict[str, str]:
    """The text of every chart, each of which has marks; a picture of all is saved."""
    done = "n => document.querySelectorAll('main > div svg.marks, main > div > p').length >= n"
    page.wait_for_function(done, arg=len(PLOTS))
    page.screenshot(path=picture, full_page=True)
    assert seen.errors == []
    assert seen.leaving == []
    specifications = {}
    for name in PLOTS:
        chart = page.locator(f"#{name}")
        marks = chart.locator(".mark-line path, .mark-symbol path, .mark-area path, .mark-rule line")
        shapes = marks.evaluate_all("all => all.map(one => one.getAttribute('d') || '')")
        assert not any("NaN" in shape for shape in shapes), name
        specifications[name] = " | ".join(chart.locator("svg text").all_text_contents())
        assert shapes or not specifications[name], name
        assert not re.search(r"NaN|undefined|null|Infinity", specifications[name]), (
            name,
            specifications[name],
        )
    return specifications


def test_plots_show(played: Path, tmp_path: Path) -> None:
    with opened(drawn(played, "show"), width=1400) as (page, seen):
        texts = charts(page, seen, tmp_path / "show.png")
    for name, plot in PLOTS.items():
        for words in (plot["title"], plot["x_label"], plot["y_label"]):
            assert words in texts[name], (name, words)
        assert "workspace" in texts[name]
    for model in ("base_rm", "test_rm", "apo_rm_r1"):
        assert all(model in texts[name] for name in PLOTS if name not in ("llm_loss", "rounds"))
    assert all(model in texts["llm_loss"] for model in ("backbone", "actor", "llm_base_r1", "llm_apo_r1"))
    assert "chosen" in texts["rewards"] and "golden" in texts["golden_samples"]
    assert "r0" in texts["rounds"] and "r1" in texts["rounds"] and "true reward" in texts["rounds"]


def test_the_page_is_one_file(played: Path, tmp_path: Path) -> None:
    """It can be sent to someone: moved elsewhere it is the same."""
    page = tmp_path / "elsewhere.html"
    page.write_bytes(drawn(played, "show").read_bytes())
    with opened(page) as (shown, seen):
        charts(shown, seen, tmp_path / "elsewhere.png")
    assert seen.requests == [page.as_uri()]
    assert str(played) not in page.read_text(encoding="utf-8")


def test_a_plot_without_rows_says_so(played: Path, tmp_path: Path) -> None:
    """Where no true reward is known, `truth.csv` has a header alone."""
    write_csv(played / TABLES / "truth.csv", [], COLUMNS["truth"])
    with opened(drawn(played, "show")) as (page, seen):
        assert charts(page, seen, tmp_path / "empty.png")["truth"] == ""
        assert page.locator("#truth").inner_text() == "truth: no rows to draw in this run"


def test_the_tables_say_what_the_metrics_say(played: Path) -> None:
    """Counts and means of the plots beside those of metrics/*.json."""
    metrics = {
        key: value
        for path in (played / "metrics").rglob("*.json")
        if not path.is_relative_to(played / "metrics/tables")
        for key, value in json.loads(path.read_text()).items()
    }
    tables = {name: read_csv(played / TABLES / f"{name}.csv") for name in COLUMNS}
    bins = yaml.safe_load((played / "params.yaml").read_text())["evaluate_rm"]["calibration_bins"]
    assert all(tables.values())
    for model in ("base_rm", "test_rm", "apo_rm_r1"):
        of_model = {name: [row for row in rows if row.get("model") == model] for name, rows in tables.items()}
        test = metrics[model]["test"]
        right = sum(int(row["pairs"]) * float(row["accuracy"]) for row in of_model["margins"])
        assert right / test["pairs"] == pytest.approx(test["accuracy"])
        for kind in ("chosen", "rejected"):
            assert test["pairs"] == sum(
                int(row["count"]) for row in of_model["rewards"] if row["kind"] == kind
            )
        trained = [row for row in of_model["reliability"] if row["kind"] == "as trained"]
        gaps = [abs(float(r["probability"]) - float(r["frequency"])) * int(r["count"]) for r in trained]
        assert sum(gaps) / test["pairs"] == pytest.approx(test[f"ece_onesided_{bins[0]}"])
        curve = read_csv(played / f"metrics/curves/{CURVES[model]}/training.csv")
        assert [row["step"] for row in of_model["rm_training"]] == [
            row["step"] for row in curve
        ]  # too few to thin
        assert all(0 <= float(row["accuracy"]) <= 1 for row in curve if row["accuracy"])
        assert float(of_model["rm_training"][-1]["loss"]) == metrics[f"train_{model}"]["train"]["final_loss"]
    for row in tables["rounds"]:
        measured = (
            metrics["answer_actor"]["golden"] if row["arm"] == "golden" else metrics[f"answer_{row['llm']}"]
        )
        key = {"true reward": "true_reward_mean"}.get(row["measure"], "score_mean")
        assert float(row["value"]) == pytest.approx(measured[key])
    payoff = metrics["payoff_r1"]["apo_rm_r1"]
    golden = [r for r in tables["golden_samples"] if r["model"] == "apo_rm_r1" and r["kind"] == "golden"]
    mean = sum(float(row["reward"]) * float(row["share"]) for row in golden)
    assert mean == pytest.approx(
        payoff["golden"]["reward_mean"], abs=float(golden[0]["upper"]) - float(golden[0]["lower"])
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_plots_diff_of_two_revisions_with_other_rounds(played: Path, tmp_path: Path) -> None:
    """One chart shows both, though their tables stand in the folders of other rounds."""
    with opened(drawn(played, "diff", "HEAD", "two"), width=1400) as (page, seen):
        texts = charts(page, seen, tmp_path / "diff.png")
        assert page.locator("#rewards g.cell > g").count() == 2 * 4  # revisions, RMs; one place is empty
    for name in PLOTS:
        assert "HEAD" in texts[name] and "two" in texts[name], (name, texts[name])
    for name in ("rm_loss", "rm_accuracy", "reliability", "margins", "rewards", "golden_samples", "truth"):
        assert "apo_rm_r1" in texts[name] and "apo_rm_r2" in texts[name], name
    assert "llm_apo_r2" in texts["llm_loss"] and "llm_base_r2" in texts["golden_samples"]
    assert "r2" in texts["rounds"]
