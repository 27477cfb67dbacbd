"""report: one HTML file that opens from disk: who won, all metrics, the plots, a browser of the transcripts.

In: what was gathered of all rounds, and what looks at the whole game: the payoff of the base RM with its
curves, the verdicts of a judge. Out: `data/report/report.html`. Metrics: transcripts shown and left out, and
how often the two RMs chose the same sample. Prints the summary of the run.
"""

from pathlib import Path

from apo.core.config import read_all, read_section, read_seed, read_value
from apo.core.records import write_json, write_text
from apo.core.stage import run
from apo.report.page import build_page
from apo.report.run import read_found, read_run
from apo.report.settings import Report
from apo.report.transcript_counts import at_most, count
from apo.summary import summary


def main(
    gathered: Path,
    payoff_base: Path,
    judge: Path,
    of_payoff_base: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    limit, seed = read_section(params, "report", Report).max_transcripts, read_seed(params)
    whole = read_run(gathered) + read_found([payoff_base, judge], [of_payoff_base])
    shown = at_most(whole.transcripts, limit, seed=seed)
    write_text(out, build_page(whole, shown, read_all(params)))
    write_json(metrics, {"report": count(whole.transcripts, shown)})
    rounds = [one["id"] for one in read_value(params, "rounds")]
    print(summary(whole.metrics, rounds, where=str(gathered)))


if __name__ == "__main__":
    run(main)
