"""The report: what it computes, what it says is missing, and that no text of the data becomes HTML."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.report.__main__ import main
from apo.report.figures import figures, not_drawn, thinned
from apo.report.missing import missing_stages
from apo.report.page import as_json, build_page
from apo.report.run import Run, read_run
from apo.report.tables import bounds, everything, interval, number, tables
from apo.report.transcript_counts import at_most, count
from apo.report.transcripts import disagreement, judged_answers, scored_samples
from tests.helpers.report_run import HOSTILE, ROOT, settings, write_run

REWARDS = st.lists(st.floats(-9, 9), min_size=3, max_size=3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, where the test is."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page_of(run: Run) -> str:
    return build_page(run, run.transcripts, settings())


# Transcripts ---------------------------------------------------------------------------------------


@given(REWARDS, REWARDS, st.floats(-9, 9))
def test_disagreement_is_what_each_loses_by_the_choice_of_the_other(
    first: list[float], second: list[float], constant: float
) -> None:
    a, b = (max(range(3), key=one.__getitem__) for one in (first, second))
    found = disagreement(first, second, a, b)
    assert found >= 0.0 and (a != b or found == 0.0)
    assert found == disagreement(second, first, b, a) or abs(found - disagreement(second, first, b, a)) < 1e-9
    assert abs(found - disagreement([x + constant for x in first], second, a, b)) < 1e-9


def row(name: str, samples: list[str], **more: Any) -> dict[str, Any]:
    return {
        "query_id": name,
        "query": "\n\nHuman: Hi\n\nAssistant:",
        "type": "helpful",
        "samples": samples,
    } | more


def test_samples_that_both_rated_stand_there_once() -> None:
    samples = {arm: {"q": row("q", ["a", "b"])} for arm in ("base", "apo")}
    scores = {"base": {"q": {"scores": [2.0, 0.5]}}, "apo": {"q": {"scores": [0.0, 3.0]}}}
    selected = {"base": {"q": {"target_index": 0}}, "apo": {"q": {"target_index": 1}}}
    (found,) = scored_samples(
        "r1", samples, scores, selected, {"q": "gold"}, lambda query, text: float(len(text))
    )
    assert [(one["by"], one["text"]) for one in found["answers"]] == [
        ("sample 1", "a"),
        ("sample 2", "b"),
        ("golden", "gold"),
    ]
    assert found["rewards"] == {
        "base RM": [2.0, 0.5, None],
        "APO RM": [0.0, 3.0, None],
        "true reward": [1.0, 1.0, 4.0],
    }
    assert found["chosen"] == {"base RM": 0, "APO RM": 1}
    assert found["measures"] == {
        "chosen_base": 2.0,
        "chosen_apo": 3.0,
        "disagreement": 1.5 + 3.0,
        "true_gain": 0.0,
    }
    assert (found["round"], found["split"], found["kind"]) == ("r1", "llm", "helpful")


def test_samples_of_two_llms_are_not_compared() -> None:
    """From the second round on each RM rates its own; other answers stand behind the samples."""
    samples = {"base": {"q": row("q", ["a"])}, "apo": {"q": row("q", ["b", "cc"], extra={"human": "d"})}}
    scores = {"base": {"q": {"scores": [2.0]}}, "apo": {"q": {"scores": [0.0, 3.0], "extra": {"human": 4.0}}}}
    selected = {"base": {"q": {"target_index": 0}}, "apo": {"q": {"target_index": 2}}}
    (found,) = scored_samples("r2", samples, scores, selected, {}, lambda query, text: float(len(text)))
    assert [one["by"] for one in found["answers"]] == [
        "base arm, sample 1",
        "apo arm, sample 1",
        "apo arm, sample 2",
        "apo arm, human",
    ]
    assert found["rewards"]["base RM"] == [2.0, None, None, None]
    assert found["rewards"]["APO RM"] == [None, 0.0, 3.0, 4.0]
    assert found["chosen"] == {"base RM": 0, "APO RM": 3}
    assert found["measures"] == {"chosen_base": 2.0, "chosen_apo": 4.0, "true_gain": 0.0}


def test_half_a_round_shows_what_is_there() -> None:
    (found,) = scored_samples("r1", {"base": {"q": row("q", ["a"])}}, {}, {}, {}, None)
    assert found["answers"] == [{"by": "sample 1", "text": "a"}]
    assert (found["rewards"], found["chosen"], found["measures"]) == ({}, {}, {})


def test_answers_to_a_test_query() -> None:
    llms = {
        "actor": {"q": row("q", ["a"], scores=[1.0])},
        "llm_base_r1": {"q": row("q", ["b", "c"], scores=[1.0, 2.0], true_rewards=[0.0, 1.0])},
        "llm_apo_r1": {"q": row("q", ["d"], scores=[4.0], true_rewards=[0.0])},
    }
    (found,) = judged_answers("r1", llms, {"q": "gold"})
    assert [one["by"] for one in found["answers"]] == [
        "actor",
        "llm_base_r1, 1",
        "llm_base_r1, 2",
        "llm_apo_r1",
        "golden",
    ]
    assert found["rewards"]["testing RM"] == [1.0, 1.0, 2.0, 4.0, None]
    assert found["rewards"]["true reward"] == [None, 0.0, 1.0, 0.0, None]
    assert found["measures"] == {"score_apo": 4.0, "score_gain": 2.5, "true_gain": -0.5}


def test_what_is_left_out_is_counted(folder: Path) -> None:
    rows = read_run(["r1"]).transcripts
    assert [sum(one["split"] == split for one in rows) for split in ("llm", "test", "rm")] == [6, 6, 3]
    shown = at_most(rows, 2, seed=1)
    assert [sum(one["split"] == split for one in shown) for split in ("llm", "test", "rm")] == [2, 2, 2]
    assert [one for one in rows if one in shown] == shown  # in their order
    assert at_most(rows, 0, seed=1) == rows
    found = {"transcripts": 6, "left_out": 9, "same_choice": 4, "other_choice": 2}
    assert count(rows, shown) == found
    page = build_page(Run({}, {}, rows, []), shown, settings())
    assert "9 transcripts are left out of the page" in page
    assert "are left out" not in build_page(Run({}, {}, rows, []), rows, settings())


# Tables --------------------------------------------------------------------------------------------


def test_numbers_and_intervals() -> None:
    assert [number(x) for x in (1234, 0.12345, 0.0, 1e-9, -2.0, None, "a", True)] == [
        "1,234",
        "0.123",
        "0.000",
        "1.0e-09",
        "-2.000",
        "",
        "a",
        "True",
    ]
    duel = {
        "difference": 0.5,
        "low": 0.25,
        "high": 0.75,
        "win_rate": 0.5,
        "win_rate_low": 0.4,
        "win_rate_high": 0.6,
    }
    assert interval(duel, "difference") == "0.500 (0.250 to 0.750)"
    assert interval(duel, "win_rate") == "0.500 (0.400 to 0.600)"
    assert bounds({"score_mean": 1.0, "score_low": 0.0, "score_high": 2.0}, "score_mean") == (
        "score_low",
        "score_high",
    )
    assert interval({"low": 1.0, "high": 2.0, "win": 3}, "win") == "3"


def test_the_tables_hold_the_metrics(folder: Path) -> None:
    found = {table.title: table for table in tables(read_run(["r1"]).metrics, ["r1"])}
    assert list(found) == [
        "Who wins",
        "Language models",
        "Reward models",
        "Reward models by kind of query",
        "Payoff matrix",
    ]
    assert found["Who wins"].rows == [
        [
            "llm_apo_r1 against llm_base_r1",
            "testing RM",
            "0.500 (0.250 to 0.750)",
            "4",
            "1",
            "1",
            "0.750 (0.500 to 0.875)",
            "0.250",
        ]
    ]
    llms = {name: cells for name, *cells in found["Language models"].rows}
    assert list(llms) == ["actor", "llm_base_r1", "llm_apo_r1", "golden"]
    assert llms["actor"][0] == "0.250 (0.900 to 1.100)"
    assert "true reward" not in found["Language models"].head  # a column without values
    rms = {name: cells[0] for name, *cells in found["Reward models"].rows}
    assert rms == {
        "base_rm, test": "0.700 (0.650 to 0.750)",
        "base_rm, valid": "0.700 (0.650 to 0.750)",
        "apo_rm_r1, test": "0.720 (0.650 to 0.750)",
        "test_rm, test": "0.700 (0.650 to 0.750)",
    }
    gains = {name: cells for name, *cells in found["Payoff matrix"].rows}
    assert gains == {  # llm_base_r1, llm_apo_r1, golden
        "testing RM": ["+0.750", "+0.750", "+8.750"],
        "base_rm": ["", "+0.250", ""],
        "apo_rm_r1": ["", "+2.000", ""],
    }


def test_no_metric_is_lost(folder: Path) -> None:
    """Every number of every file is a value or an end of an interval."""
    metrics = read_run(["r1"]).metrics

    def leaves(node: Any) -> int:
        return sum(map(leaves, node.values())) if isinstance(node, dict) else 1

    rows = [cells for table in everything(metrics) for cells in table.rows]
    assert sum(1 + 2 * bool(ends) for _, _, ends in rows) == leaves(metrics)
    assert ["test.by_type.helpful.accuracy", "0.800", "0.700 to 0.900"] in rows


# What is missing -----------------------------------------------------------------------------------


def text_of(page: str) -> str:
    """What a reader sees without JavaScript."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.inside = "", ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.inside = tag if tag in ("script", "style") else ""

        def handle_endtag(self, tag: str) -> None:
            self.inside = ""

        def handle_data(self, data: str) -> None:
            self.text += "" if self.inside else data

    reader = Reader()
    reader.feed(page)
    return reader.text


def test_a_whole_run_says_who_won_and_lacks_nothing(folder: Path) -> None:
    run = read_run(["r1"])
    assert (missing_stages(run.metrics, ["r1"]), run.missing) == ([], [])
    text = text_of(page_of(run))
    assert "r1, this run: llm_apo minus llm_base by the testing RM: +0.500 (+0.250 to +0.750)" in text
    assert "This run is not whole" not in text
    assert "No judge from outside was named" in text
    assert "apo.coeff" in text and "Not drawn: r0/test_rm/novel, r1/payoff/base_rm/truth." in text


def test_a_run_that_lacks_stages_says_which_and_shows_the_rest(folder: Path) -> None:
    for name in ("metrics/r1/evaluate.json", "data/rjs/r1/apo.jsonl", "metrics/evaluate_test_rm.json"):
        Path(name).unlink()
    run = read_run(["r1"])
    assert missing_stages(run.metrics, ["r1"]) == ["evaluate_test_rm", "evaluate of round r1"]
    assert run.missing == ["data/rjs/r1/apo.jsonl"]
    text = text_of(page_of(run))
    for said in (
        "This run is not whole",
        "stage evaluate of round r1: no metrics",
        "file data/rjs/r1/apo.jsonl",
        "no round of this run was evaluated",
        "Language models",
        "0.720 (0.650 to 0.750)",
    ):
        assert said in text
    assert len(run.transcripts) == 15
    assert "APO RM" not in run.transcripts[0]["chosen"] and run.transcripts[0]["rewards"]["APO RM"]


def test_nothing_at_all_is_a_page_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    main(Path("report.html"))
    text = text_of(Path("report.html").read_text(encoding="utf-8"))
    assert (
        "stage data: no metrics" in text
        and "This run has none." in text
        and "This run has no curves." in text
    )


def test_a_broken_metrics_file_is_told_in_one_line(folder: Path) -> None:
    Path("metrics/split.json").write_text("{")
    command = [sys.executable, "-m", "apo.report", "report.html"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and done.stderr.startswith("error: metrics/split.json: found no JSON object")
    assert done.stderr.count("\n") == 1 and not Path("report.html").exists()


def test_plots_are_files_too(folder: Path) -> None:
    main(Path("report.html"), Path("plots"))
    run = read_run(["r1"])
    drawn = {path.name: path.read_text(encoding="utf-8") for path in Path("plots").iterdir()}
    wanted = figures(run.curves, run.metrics, ["r1"])
    assert len(drawn) == len(wanted) > 3
    assert all(ElementTree.fromstring(svg).tag.endswith("svg") for svg in drawn.values())
    assert "language-models-by-the-testing-rm-with-95-intervals.svg" in drawn


# The page ------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters() | st.sampled_from("<>&\u2028\u2029\\/!-"))))
def test_json_in_the_page_is_read_as_it_was_and_ends_no_element(content: Any) -> None:
    text = as_json(content)
    assert json.loads(text) == content
    assert not re.search("[<>&\u2028\u2029]", text)


def test_the_order_of_the_files_does_not_change_the_page(folder: Path) -> None:
    run = read_run(["r1"])
    for part, name in ((run.curves, "curves"), (run.metrics, "metrics")):
        other = replace(run, **{name: dict(reversed(part.items()))})
        assert page_of(other) == page_of(run), name


def test_no_text_of_the_data_becomes_html(folder: Path) -> None:
    run = read_run(["r1"])
    run.metrics["data"]["<script>bad</script>"] = "<img src=x>"
    page = page_of(run)
    assert page.count("<script") == 2 == page.count("</script>")  # the data and the page's own
    assert "window.hurt" in page and "<script>window" not in page and "<img" not in page
    assert "&lt;script&gt;bad&lt;/script&gt;" in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert data
    texts = [a["text"] for row in json.loads(data[1])["rows"] for a in row["answers"]]
    assert HOSTILE in texts  # {{style}} too: nothing is filled in twice


def test_the_page_is_always_the_same_and_asks_for_nothing(folder: Path) -> None:
    page = page_of(read_run(["r1"]))
    assert page == page_of(read_run(["r1"]))
    assert str(folder) not in page
    without_names = page.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert not re.search(r"https?://|src=[\"']|@import|url\(", without_names.replace("src=x", ""))
    assert "default-src 'none'" in page


def test_it_needs_no_torch() -> None:
    look = "import sys, apo.report.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT).returncode == 0


# Plots ---------------------------------------------------------------------------------------------


def test_thinned_curves_keep_their_mean() -> None:
    points = [(float(i), float(i % 3)) for i in range(300)]
    found = thinned(points, most=60)
    assert len(found) == 60 and found[0] == (2.0, (0 + 1 + 2 + 0 + 1) / 5)
    assert abs(sum(y for _, y in found) / 60 - sum(y for _, y in points) / 300) < 1e-9
    assert thinned(points[:60], most=60) == points[:60]
    assert thinned([], most=60) == []


def test_every_curve_is_drawn_or_named(folder: Path) -> None:
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
