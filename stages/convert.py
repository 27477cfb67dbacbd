"""convert: golden answers and samples of the RM queries become adversarial comparisons golden > samples.

In: `data/golden.jsonl`, the samples of the RM queries. Out: `data/apo/ROUND.jsonl`, one row per query.
Metrics: rows, pairs, cut and dropped texts. Paper, section 3.2.
"""

from collections import Counter
from pathlib import Path

from apo.conversion import Convert, GoldenAnswers, convert
from apo.core.config import read_count, read_section, read_seed
from apo.core.records import read_rows, write_json, write_rows
from apo.core.stage import run


def main(
    round: str, golden: Path, samples: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")
) -> None:
    settings = read_section(params, "convert", Convert)
    counts: Counter[str] = Counter()
    with GoldenAnswers(golden) as answers:
        rows = convert(
            read_rows(samples, "query_id", "query"),
            answers,
            num_samples=read_count(params, "apo.num_samples"),
            short_samples=settings.short_samples,
            pick=settings.pick,
            seed=read_seed(params),
            source=str(samples),
            counts=counts,
        )
        write_rows(out, rows)
    write_json(metrics, {f"convert_{round}": dict(counts)})


if __name__ == "__main__":
    run(main)
