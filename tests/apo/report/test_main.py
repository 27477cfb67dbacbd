"""apo/report/__main__.py: the command, on whole, broken and empty runs."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from apo.report.__main__ import main
from tests.helpers.report_run import ROOT, text_of


def test_main_builds_a_page_of_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    main(Path("report.html"))
    text = text_of(Path("report.html").read_text(encoding="utf-8"))
    assert (
        "stage data: no metrics" in text
        and "This run has none." in text
        and "This run has no curves." in text
    )


def test_main_names_a_broken_metrics_file_in_one_line(folder: Path) -> None:
    Path("metrics/split.json").write_text("{")
    command = [sys.executable, "-m", "apo.report", "report.html"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and done.stderr.startswith("error: metrics/split.json: found no JSON object")
    assert done.stderr.count("\n") == 1 and not Path("report.html").exists()


def test_main_writes_plots_as_files(folder: Path) -> None:
    main(Path("report.html"), Path("plots"))
    drawn = {path.name: path.read_text(encoding="utf-8") for path in Path("plots").iterdir()}
    assert {"scores.svg", "rm_loss.svg", "reliability.svg", "rounds.svg"} <= drawn.keys()
    assert all(ElementTree.fromstring(svg).tag.endswith("svg") for svg in drawn.values())
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == len(drawn)


def test_main_shows_a_game_whose_first_round_was_taken_out(folder: Path) -> None:
    """The curves of round r1 are those of the second round of the game before."""
    rounds = Path("metrics/curves/r1/evaluate/rounds.csv")
    rounds.write_text(rounds.read_text() + "a,base,llm_base_a,1.0,0.9,1.1\na,apo,llm_apo_a,1.5,1.4,1.6\n")
    main(Path("report.html"), Path("plots"))
    assert Path("report.html").is_file() and ">a</text>" not in Path("plots/rounds.svg").read_text()


def test_main_imports_no_torch() -> None:
    look = "import sys, apo.report.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT).returncode == 0
