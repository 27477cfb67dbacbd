"""rjs: rejection sampling, the response with the highest reward to every LLM query.

In: the samples of the LLM queries and their rewards by one RM. Out: `data/rjs/ROUND/ARM.jsonl`, one row per
query with the target, all rewards and the margin. Metrics: selected, tied and blank responses. Paper,
section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo.core.config import read_section
from apo.core.records import read_rows, write_json, write_rows
from apo.core.stage import run
from apo.selection import RankAgreement, Rjs, select


def main(
    name: str, samples: Path, scores: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")
) -> None:
    settings = read_section(params, "rjs", Rjs)
    counts: Counter[str] = Counter()
    agreement = RankAgreement()
    rows = select(
        read_rows(samples, "query_id", "query"),
        read_rows(scores, "query_id"),
        include_extra=settings.candidates == "samples_and_extra",
        samples_source=str(samples),
        rewards_source=str(scores),
        counts=counts,
        use_source_rewards=settings.rewards == "source",
        agreement=agreement,
    )
    write_rows(out, rows)
    write_json(metrics, {f"rjs_{name}": {**counts, **agreement.metrics()}})


if __name__ == "__main__":
    run(main)
