"""align: the LLM of one arm is fine-tuned on the responses that its RM chose, and plays the next round.

In: the LLM of the last round, the selected responses. Out: `models/llm_ARM/ROUND`, its training curve,
metrics. Paper, section 4.1.
"""

from pathlib import Path

from apo.config import Alignment, read_number, read_section, read_seed
from apo.fine_tuning import fine_tune
from apo.records import read_rows
from apo.stage import run


def main(
    name: str,
    round: str,
    llm: Path,
    selected: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    fine_tune(
        f"align_{name}",
        llm,
        [(row["prompt"], row["completion"]) for row in read_rows(selected)],
        read_section(params, "align", Alignment).at(read_number(params, f"align_lr.{round}")),
        source=selected,
        seed=read_seed(params),
        out=out,
        curves=curves,
        metrics=metrics,
    )


if __name__ == "__main__":
    run(main)
