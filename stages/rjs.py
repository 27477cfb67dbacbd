"""rjs: rejection sampling, the response with the highest reward to every LLM query.

In: the samples of the LLM queries and the scores of one RM. Out: `data/rjs/ROUND/ARM.jsonl`, one row a query
with the target, all scores and the margin. Metrics: how many were selected, tied, blank. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo.core.config import read_section
from apo.core.records import read_rows, write_json, write_rows
from apo.core.stage import run
from apo.selection import Rjs, select


def main(
    name: str, samples: Path, scores: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")
) -> None:
    settings = read_section(params, "rjs", Rjs)
    counts: Counter[str] = Counter()
    selected = select(
        read_rows(samples, "query_id", "query"),
        read_rows(scores, "query_id"),
        include_extra=settings.candidates == "samples_and_extra",
        samples_at=str(samples),
        scores_at=str(scores),
        counts=counts,
    )
    write_rows(out, selected)
    write_json(metrics, {f"rjs_{name}": dict(counts)})


if __name__ == "__main__":
    run(main)
