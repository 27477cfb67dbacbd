"""golden: the golden answers of the RM queries that are sampled.

In: the RM queries, the golden answers of the source or of its comparisons. Out: `data/golden.jsonl`, one row
per query. With `data.golden: endpoint` a model behind an endpoint (`golden.model`) answers the queries that
have no golden answer; such a row says who made it. Metrics: answers by origin. Paper, section 4.1.
"""

import sys
from pathlib import Path

from apo.conversion import GoldenAnswers
from apo.core.config import read_section, read_seed
from apo.core.records import Row, read_rows, write_json, write_rows
from apo.core.stage import run
from apo.core.subset import subsample
from apo.golden.answers import ask
from apo.golden.settings import Golden
from apo.sampling.settings import Sampling


def main(queries: Path, golden: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    settings, seed = read_section(params, "golden", Golden), read_seed(params)
    sampling = read_section(params, "sample.rm", Sampling, defaults="sample.common")
    asked = subsample(
        read_rows(queries, "query_id", "query", "type"), max_queries=sampling.max_queries, seed=seed
    )
    with GoldenAnswers(golden) as known:
        missing = [row for row in asked if row["query_id"] not in known]
        made = ask(settings, missing, source=str(params))
        if made.truncated:
            print(
                f"golden: {made.truncated} of {len(missing)} answers reached golden.max_tokens",
                file=sys.stderr,
            )
        by_model = {"made_by": settings.model}
        rows = (
            _golden_row(row, known[row["query_id"]])
            if row["query_id"] in known
            else _golden_row(row, made.by_id[row["query_id"]]) | by_model
            for row in asked
        )
        write_rows(out, rows)
        counts = {"queries": len(asked), "of_source": len(asked) - len(missing), "asked": len(missing)}
        counts |= {"asked_truncated": made.truncated, "asked_thoughts": made.thoughts}
        counts["unused"] = len(known) - counts["of_source"]
    write_json(metrics, {"golden": counts})


def _golden_row(query: Row, answer: str) -> Row:
    return {"query_id": query["query_id"], "query": query["query"], "golden": answer, "type": query["type"]}


if __name__ == "__main__":
    run(main)
