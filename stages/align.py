"""align: the language model is fine-tuned on the responses that one RM chose (RJS).

In: the actor, the selected responses. Out: `models/llm_RM`, its training curve, metrics. Paper, section 4.1.
"""

from pathlib import Path

from apo.config import FineTuning, read_section, read_seed
from apo.fine_tuning import fine_tune
from apo.records import read_rows
from apo.stage import run


def main(
    rm: str,
    actor: Path,
    selected: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    fine_tune(
        f"llm_{rm}",
        actor,
        [(row["prompt"], row["completion"]) for row in read_rows(selected)],
        read_section(params, "align", FineTuning),
        source=selected,
        seed=read_seed(params),
        out=out,
        curves=curves,
        metrics=metrics,
    )


if __name__ == "__main__":
    run(main)
